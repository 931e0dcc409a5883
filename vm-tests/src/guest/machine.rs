//! This machine's own ZFS in place of virtual machines.
