//! The life of a guest: one owner task each; start, stop, save and the rest as sagas.
