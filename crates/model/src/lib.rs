//! Transformer families with bit-exact inference, canonical weights and the model store.
