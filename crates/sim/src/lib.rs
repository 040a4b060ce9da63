//! One cluster life under a virtual clock: the replica, journal and checkpoints that ship.
