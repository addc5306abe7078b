"""How a round runs on devices: the cycle, its programs, pools on the host, several devices and processes."""
