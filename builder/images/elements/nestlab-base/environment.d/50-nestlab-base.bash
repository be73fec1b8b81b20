# the network is told by the lab, not by a list of cards in the image
export DIB_APT_MINIMAL_CREATE_INTERFACES=0
