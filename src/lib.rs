//! serbroker: serial ports on the network, compatible with ser2net.
