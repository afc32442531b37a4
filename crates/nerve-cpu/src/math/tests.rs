//! Accuracy of the functions.
