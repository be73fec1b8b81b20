"""`bash ci/nightly.sh [--fresh] [--minutes N] PART...`: status 0 proven, 1 failed, 2 usage, 4 not through yet."""

from __future__ import annotations

import argparse
import sys

from ci.nightly import (
    boots,
    debian_installer,
    exports,
    injection,
    judges,
    kickstart_storage,
    kill9,
    media,
    media_boots,
    procedures,
    procedures_labs,
    programs,
    reproducibility,
    several,
    variants,
    xcpng_install,
    xcpng_own,
    xl_in_dom0,
)
from ci.nightly.part import DONE, Part, run_part

PARTS: dict[str, Part] = {
    part.name: part
    for part in (
        boots.PART,
        *debian_installer.PARTS,
        exports.PART,
        injection.PART,
        judges.PART,
        kickstart_storage.PART,
        kill9.PART,
        reproducibility.PART,
        *media.PARTS,
        media_boots.PART,
        procedures.PART,
        procedures_labs.PART,
        *(make() for make in programs.PARTS),
        several.PART,
        variants.PART,
        xcpng_install.PART,
        xcpng_own.PART,
        xl_in_dom0.PART,
    )
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="ci/nightly.sh", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--list", action="store_true", help="name the parts and what each proves")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run had finished")
    parser.add_argument("--minutes", type=float, default=45, help="time limit of each part (default: 45)")
    options = parser.parse_args(argv)
    if options.list:
        for part in PARTS.values():
            print(f"{part.name:18} {part.about}")
        return 0
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown or not options.parts:
        parser.error(f"{'unknown part: ' + ', '.join(unknown) if unknown else 'no part'}; known: {', '.join(PARTS)}")
    worst = DONE
    try:
        for name in options.parts:
            worst = max(worst, run_part(PARTS[name], minutes=options.minutes, fresh=options.fresh))
    except KeyboardInterrupt:
        print("interrupted; run it again to go on", file=sys.stderr)
        return 130
    return worst


if __name__ == "__main__":
    sys.exit(main())
