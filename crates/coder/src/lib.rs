//! Integer frequency tables and range coding.
