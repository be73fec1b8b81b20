"""openSUSE Leap and SUSE Linux Enterprise Server as Xen hosts that install themselves: by AutoYaST, or by Agama."""
