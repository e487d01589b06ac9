//! Data sets, networks and the training loop that writes gradient files.
