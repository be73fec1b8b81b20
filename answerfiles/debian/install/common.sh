# Where the answers are, and marks by which an installation is followed.
base={{ base | shell }}

fetch() { # FILE TARGET
	case "$base" in
	*://*) fetch-url "$base/$1" "$2" ;;
	*) cp "$base/$1" "$2" ;;
	esac
}

tell() { # begin|end|fail PHASE MARK [LOG]
	sh /tmp/nestlab-tell "$@" || printf '\n%s\n' "nestlab: $3" >/dev/console
}

run() { # FILE: one of the user's scripts, in the installer
	fetch "$1" "/tmp/nestlab-${1##*/}"
	sh "/tmp/nestlab-${1##*/}"
}
