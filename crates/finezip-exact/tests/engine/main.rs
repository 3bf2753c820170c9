//! The engine as its users see it: families, precisions, schedules, windows, the cache.

mod adapters;
mod cache;
mod families;
mod features;
mod golden;
mod invariance;
mod no_library_functions;
mod oracle;
mod refusals;
mod scaling;
mod stored_types;
