//! The coders as the pipeline uses them: whole frames, both ways.

mod arithmetic;
mod rank;
mod support;
