//! Which members of a comparison a statement is about.

use crate::report::comparisons::{Comparison, Member};
use crate::run::config::Finezip;

/// Members of a comparison.
pub(super) enum Side {
    /// Those of these values, of which `""` is what finezip-cli chooses.
    Of(fn(&Finezip) -> Option<&str>, &'static [&'static str]),
    /// The smallest archive of those of these values.
    SmallestOf(fn(&Finezip) -> Option<&str>, &'static [&'static str]),
    /// That of the least number.
    Least,
    /// That of the least number that is no less than this.
    LeastFrom(f64),
    /// That of the greatest number.
    Most,
    /// Without an adapter.
    Plain,
    /// With one.
    Adapted,
    /// Without further options.
    NoOptions,
    /// With this one.
    With(&'static str),
    /// Without a model.
    NoModel,
    /// With a model, without an adapter.
    Model,
}

impl Side {
    /// The member of a comparison that is meant, if it has one.
    pub(super) fn of<'a, 'b>(&self, comparison: &'b Comparison<'a>) -> Option<&'b Member<'a>> {
        let members = &comparison.members;
        let by = |wanted: &dyn Fn(&Finezip) -> bool| {
            let is_wanted = |member: &&Member<'_>| member.line.method.finezip().is_some_and(wanted);
            members.iter().filter(is_wanted).collect::<Vec<_>>()
        };
        let first = |wanted: &dyn Fn(&Finezip) -> bool| by(wanted).first().copied();
        let has = |part: fn(&Finezip) -> Option<&str>, values: &'static [&'static str]| {
            move |finezip: &Finezip| {
                values.contains(&part(finezip).unwrap_or_default())
                    && finezip.engine.as_deref().is_none_or(|engine| engine == "exact")
            }
        };
        match self {
            Self::Of(part, values) => first(&has(*part, values)),
            Self::SmallestOf(part, values) => {
                let those = by(&has(*part, values));
                those.into_iter().min_by_key(|member| member.measures.archive_bytes)
            }
            // Numbers ascend, and what has none stands before them.
            Self::Least => members.iter().find(|member| member.number.is_some()),
            Self::LeastFrom(least) => {
                members.iter().find(|member| member.number.is_some_and(|number| number >= *least))
            }
            Self::Most => members.last().filter(|member| member.number.is_some()),
            Self::Adapted => first(&|finezip| finezip.adapter.is_some()),
            Self::NoOptions => first(&|finezip| finezip.options.is_empty()),
            Self::With(option) => {
                first(&|finezip| finezip.options.iter().any(|given| given == option))
            }
            Self::NoModel => first(&|finezip| !finezip.has_model()),
            // The model of the adapter where there is one.
            Self::Plain | Self::Model => {
                let adapted = Self::adapted_model(comparison);
                first(&|finezip| {
                    finezip.has_model()
                        && finezip.adapter.is_none()
                        && adapted.is_none_or(|model| finezip.model == model)
                })
            }
        }
    }

    fn adapted_model<'b>(comparison: &'b Comparison<'_>) -> Option<&'b str> {
        let finezips = comparison.members.iter().filter_map(|member| member.line.method.finezip());
        finezips.filter(|finezip| finezip.adapter.is_some()).map(|finezip| &*finezip.model).next()
    }
}
