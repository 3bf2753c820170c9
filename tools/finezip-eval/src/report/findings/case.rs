//! One comparison held against what is stated of it.

use super::statements::Finding;
use crate::report::comparisons::{Member, Setting};
use crate::report::tables::{pays_beyond, peak_bytes, speed, speeds};
use crate::text::{bytes_short, times};

/// What a statement says of one archive beside another.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// The change of its size, as a part of the other's.
    pub(crate) size: Option<f64>,
    /// How many times the speed it is made at.
    pub(crate) speed: Option<f64>,
}

impl Figures {
    /// In words.
    pub(super) fn text(self) -> String {
        let size = self.size.map(|part| format!("{:+.0} % size", 100.0 * part));
        let speed = self.speed.map(|times| format!("{times} times the speed"));
        let stated: Vec<String> = [size, speed].into_iter().flatten().collect();
        if stated.is_empty() { "-".into() } else { stated.join(", ") }
    }

    /// Whether what was found is what is stated, where something is.
    fn are_near(self, size: f64, speed: f64) -> bool {
        let size_is = self.size.is_none_or(|stated| (size - stated).abs() <= NEAR * stated.abs());
        let speed_is = self.speed.is_none_or(|stated| (speed / stated - 1.0).abs() <= NEAR);
        size_is && speed_is
    }
}

/// An archive's size beside another's.
#[derive(Clone, Copy)]
pub(super) enum Size {
    Smaller,
    Larger,
    NoLarger,
    /// Within 1 %.
    Alike,
}

impl Size {
    /// Whether `other` is as this says beside `base`.
    pub(super) fn holds(self, base: u64, other: u64) -> bool {
        match self {
            Self::Smaller => other < base,
            Self::Larger => other > base,
            Self::NoLarger => other <= base,
            Self::Alike => other.abs_diff(base) <= base / 100,
        }
    }
}

/// Speeds no further apart are no difference: single runs vary by as much.
const NOISE: f64 = 0.05;

/// Peaks of memory no further apart are alike.
pub(super) const ALIKE: f64 = 0.1;

/// How far from a stated figure a found one may be and still repeat it.
const NEAR: f64 = 0.25;

/// What a comparison says of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Yes,
    /// As stated, but not by as much, or by more.
    InDirection,
    InPart,
    No,
}

impl Verdict {
    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::InDirection => "in direction",
            Self::InPart => "in part",
            Self::No => "no",
        }
    }
}

/// One comparison that tells of a statement.
pub(crate) struct Case {
    /// What is compared.
    pub(crate) compared: String,
    /// What was found, in words.
    pub(crate) found: String,
    /// The change of the archive's size, as a part of the other's.
    pub(crate) size: f64,
    /// How many times the speed.
    pub(crate) speed: f64,
    /// How many times the memory, where that is what is stated.
    pub(super) memory: Option<f64>,
    /// Whether that is what is stated.
    pub(super) verdict: Verdict,
}

impl Case {
    /// A comparison of two archives' sizes, of which the second is stated to be smaller.
    pub(crate) fn smaller(
        compared: String,
        stated: Figures,
        base: (u64, f64),
        other: (u64, f64),
    ) -> Self {
        let (size, speed) = (other.0 as f64 / base.0.max(1) as f64 - 1.0, other.1 / base.1);
        let held = Size::Smaller.holds(base.0, other.0);
        Self {
            compared,
            found: sizes_and_speeds(size, speed),
            size,
            speed,
            memory: None,
            verdict: verdict(&[held], stated, size, speed),
        }
    }
}

/// Whether what was stated is so: of its parts, those that held.
fn verdict(parts: &[bool], stated: Figures, size: f64, speed: f64) -> Verdict {
    match parts.iter().filter(|&&held| held).count() {
        held if held < parts.len() => {
            if held == 0 {
                Verdict::No
            } else {
                Verdict::InPart
            }
        }
        _ if stated.are_near(size, speed) => Verdict::Yes,
        _ => Verdict::InDirection,
    }
}

impl Finding {
    /// What two members of a comparison say of it.
    pub(super) fn case(&self, common: &str, base: &Member<'_>, other: &Member<'_>) -> Case {
        let bytes = |member: &Member<'_>| member.measures.archive_bytes;
        let speed = speeds(base, other);
        let memory = memory(base, other);
        let parts = [
            self.size.map(|size| size.holds(bytes(base), bytes(other))),
            self.speed.map(|stated| {
                let found = if (speed - 1.0).abs() <= NOISE { 1.0 } else { speed };
                found.total_cmp(&1.0) == stated
            }),
            self.same_memory.then(|| (memory - 1.0).abs() <= ALIKE),
        ];
        let parts: Vec<bool> = parts.into_iter().flatten().collect();
        let size = bytes(other) as f64 / bytes(base).max(1) as f64 - 1.0;
        Case {
            compared: format!("{common}: {} beside {}", other.value, base.value),
            found: found(base, other, size, self.setting == Setting::InputBytes),
            size,
            speed,
            memory: self.same_memory.then_some(memory),
            verdict: verdict(&parts, self.figures, size, speed),
        }
    }
}

fn memory(base: &Member<'_>, other: &Member<'_>) -> f64 {
    peak_bytes(other.measures) as f64 / peak_bytes(base.measures).max(1) as f64
}

fn sizes_and_speeds(size: f64, speed: f64) -> String {
    format!("{:+.1} % size, {} times the speed", 100.0 * size, times(speed))
}

/// One member beside another in figures; sizes of archives of different texts are none.
fn found(base: &Member<'_>, other: &Member<'_>, size: f64, of_other_text: bool) -> String {
    let ratio = speeds(base, other);
    let mut text = if of_other_text {
        format!("{} times the speed", times(ratio))
    } else {
        sizes_and_speeds(size, ratio)
    };
    if let (Some(before), Some(after)) = (base.measures.decompress, other.measures.decompress) {
        let ratio = speed(other.line, after.seconds) / speed(base.line, before.seconds);
        text.push_str(&format!(" ({} back)", times(ratio)));
    }
    text.push_str(&format!(", {:.2} times the memory", memory(base, other)));
    if let Some(bytes) = pays_beyond(base.measures, other.measures, other.line.input.bytes) {
        let bytes = bytes_short(bytes);
        text.push_str(&format!("; its adapter counted, it pays beyond {bytes} of such text"));
    }
    text
}
