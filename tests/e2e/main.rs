//! The operator: commands, the file, reload, health, the journal. The real binary, a real sshd.
