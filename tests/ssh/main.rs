//! What a tunnel survives. The real binary, a real sshd, a real network to cut.
