"""Where the UDP packets of a device come from: the network, or a recording played at its pace."""
