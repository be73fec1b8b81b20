"""Real installations by the Debian installer on machines whose mirror no longer holds all of its components: media of
the vendor's layout, a local suite with what is missing, and a mirror behind the gateway of a guest.

Nothing of it is for users: a whole mirror, or Debian's own medium, needs none of it."""
