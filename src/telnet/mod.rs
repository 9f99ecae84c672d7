//! Telnet (RFC 854, 855, 1143) and its COM-PORT option (RFC 2217), without any I/O.
