//! What is stated: the paper's findings, and what this project adds.

use std::cmp::Ordering;

use super::case::{Figures, Size};
use super::side::Side;
use crate::report::comparisons::Setting;
use crate::run::config::Finezip;

/// A statement that a comparison bears out or does not.
pub(super) struct Finding {
    /// What is stated.
    pub(super) text: &'static str,
    /// Whether the paper says so.
    pub(super) by_the_paper: bool,
    /// By how much, where that is stated.
    pub(super) figures: Figures,
    /// The setting that differs.
    pub(super) setting: Setting,
    /// What is compared with.
    pub(super) base: Side,
    /// What is compared.
    pub(super) other: Side,
    /// How large `other` is beside it.
    pub(super) size: Option<Size>,
    /// Whether `other` is slower or faster.
    pub(super) speed: Option<Ordering>,
    /// Whether `other` takes as much memory, within [`super::case::ALIKE`].
    pub(super) same_memory: bool,
}

const SCHEDULE: fn(&Finezip) -> Option<&str> = |finezip| finezip.schedule.as_deref();
const PRECISION: fn(&Finezip) -> Option<&str> = |finezip| finezip.precision.as_deref();
const CODER: fn(&Finezip) -> Option<&str> = |finezip| finezip.coder.as_deref();

const SMALLER: Option<Size> = Some(Size::Smaller);
const LARGER: Option<Size> = Some(Size::Larger);
const FASTER: Option<Ordering> = Some(Ordering::Greater);

/// A finding of the paper's with its figures; what is not set is not stated.
const PAPER: Finding = Finding {
    text: "",
    by_the_paper: true,
    figures: Figures { size: None, speed: None },
    setting: Setting::Coder,
    base: Side::Least,
    other: Side::Most,
    size: None,
    speed: None,
    same_memory: false,
};

/// A finding of this project's.
const OURS: Finding = Finding { by_the_paper: false, ..PAPER };

/// All of them, in the order of the report.
pub(super) const FINDINGS: [Finding; 15] = [
    Finding {
        text: "dynamic context is many times as fast as LLMZip's fixed window, and larger (stated \
               of archives of ranks)",
        figures: Figures { size: Some(0.1), speed: Some(54.0) },
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["fixed-window"]),
        other: Side::Of(SCHEDULE, &["chunk-reset"]),
        size: LARGER,
        speed: FASTER,
        ..PAPER
    },
    Finding { text: "a larger batch is faster", setting: Setting::Batch, speed: FASTER, ..PAPER },
    Finding {
        text: "4-bit weights are faster than whole ones, and archives larger",
        figures: Figures { size: Some(0.13), speed: Some(3.7) },
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["int4"]),
        size: LARGER,
        speed: FASTER,
        ..PAPER
    },
    Finding {
        text: "a longer context is smaller",
        setting: Setting::Context,
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "arithmetic coding is smaller than ranks through bzip2",
        figures: Figures { size: Some(-0.38), speed: None },
        base: Side::Of(CODER, &["rank-bzip2"]),
        other: Side::Of(CODER, &["ac"]),
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "fine-tuning makes archives smaller, the adapter not counted (the paper: on the text \
               itself; here: on other text of its source)",
        setting: Setting::Model,
        base: Side::Plain,
        other: Side::Adapted,
        size: SMALLER,
        ..PAPER
    },
    Finding {
        text: "arithmetic coding is smaller than ranks through what makes them smallest",
        base: Side::SmallestOf(CODER, &["rank-bzip2", "rank-zlib", "rank-zstd", "rank-brotli"]),
        other: Side::Of(CODER, &["ac"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "8-bit weights lose next to nothing beside whole ones (within 1 %), and are faster",
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["f32"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: Some(Size::Alike),
        speed: FASTER,
        ..OURS
    },
    Finding {
        text: "archives of 8-bit weights are smaller than those of 4-bit ones, and faster made",
        setting: Setting::Precision,
        base: Side::Of(PRECISION, &["int4"]),
        other: Side::Of(PRECISION, &["", "int8"]),
        size: SMALLER,
        speed: FASTER,
        ..OURS
    },
    Finding {
        text: "memorizing a text makes its archive no larger, the adapter counted: it is kept where \
               it pays",
        setting: Setting::Options,
        base: Side::NoOptions,
        other: Side::With("--memorize"),
        size: Some(Size::NoLarger),
        ..OURS
    },
    Finding {
        text: "windows that roll are smaller than chunks of the same context",
        setting: Setting::Schedule,
        base: Side::Of(SCHEDULE, &["chunk-reset"]),
        other: Side::Of(SCHEDULE, &["", "rolling"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "a mixer that learns from the text makes archives smaller than arithmetic coding",
        base: Side::Of(CODER, &["ac"]),
        other: Side::Of(CODER, &["", "mixer-6"]),
        size: SMALLER,
        ..OURS
    },
    Finding {
        text: "the model makes archives smaller than the mixer of bytes alone",
        setting: Setting::Model,
        base: Side::NoModel,
        other: Side::Model,
        size: SMALLER,
        ..OURS
    },
    Finding { text: "more threads are faster", setting: Setting::Threads, speed: FASTER, ..OURS },
    Finding {
        text: "beyond a frame (1 MiB) memory does not grow with the text",
        setting: Setting::InputBytes,
        base: Side::LeastFrom(1e6),
        same_memory: true,
        ..OURS
    },
];
