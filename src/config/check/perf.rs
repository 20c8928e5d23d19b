//! `<source>` of type `oms_omi`: which object, which of its instances and counters, how often.

use super::super::PerfSource;
use super::super::regex::Regex;
use super::super::table::{FOREIGN_OBJECTS, Home};
use super::{Perf, Place, Plan, Reader, Section, Values};
use crate::collect::Object;
use crate::limits::PERF_SOURCES_MAX;
use crate::record::perf::Counters;
use alloc::format;

/// The one counter that the original's mapping knows by two names: its configuration has this one, its records the other.
const USED_MEMORY: (&str, &str) = ("Used Memory kBytes", "Used Memory");

impl Reader<'_> {
    pub(super) fn perf(&mut self, section: &Section, plan: &mut Plan) {
        self.keys(section, Home::Perf);
        let mut values = Values { reader: self, section, home: Home::Perf };
        let (tag, tag_place) = values.text("tag");
        let Some(object) = values.object() else { return };
        let source = PerfSource {
            object,
            instances: values.regex("instance_regex").0,
            counters: values.counters(object),
            interval_ms: values.entry("interval").map(|_| values.number("interval")),
            compat: values.flag("compat"),
            line: section.place.line,
        };
        if plan.perf.len() >= PERF_SOURCES_MAX {
            return self.report.error(section.place, format!("more than {PERF_SOURCES_MAX} perf sources"));
        }
        plan.perf.push(Perf { source, tag, tag_place });
    }
}

impl Values<'_, '_, '_> {
    /// Says so if there is none, or one that is not measured here.
    fn object(&mut self) -> Option<Object> {
        let row = self.row("object_name");
        let Some(entry) = self.entry("object_name") else {
            let reason = format!("a perf source needs an `object_name`: {}", row.kind.expected());
            self.reader.report.error(self.section.place, reason);
            return None;
        };
        let object = Object::ALL.into_iter().find(|object| object.name() == entry.value);
        if object.is_some() {
            return object;
        }
        if FOREIGN_OBJECTS.contains(&entry.value.as_str()) {
            let reason = format!("{} is not measured here: this source does nothing", entry.value);
            self.reader.report.warn(entry.value_place, reason);
        } else {
            self.refuse(entry, row);
        }
        None
    }

    /// The expression, and where it stands. One that is wrong is reported and taken as none.
    fn regex(&mut self, name: &str) -> (Regex, Place) {
        let Some(entry) = self.entry(name) else { return (Regex::any(), self.section.place) };
        let regex = Regex::new(&entry.value).unwrap_or_else(|fault| {
            self.reader.report.error(entry.place_of(fault.at), format!("`{name}`: {}", fault.reason));
            Regex::any()
        });
        (regex, entry.value_place)
    }

    fn counters(&mut self, object: Object) -> Counters {
        let (regex, place) = self.regex("counter_name_regex");
        let mut counters = 0;
        for (index, name) in object.counters().iter().enumerate() {
            let other = if *name == USED_MEMORY.0 { USED_MEMORY.1 } else { name };
            let chosen = regex.is_found_in(name.as_bytes()) || regex.is_found_in(other.as_bytes());
            counters |= Counters::from(chosen) << index;
        }
        if counters == 0 {
            let reason = format!("this is in no name of a counter of {}: its records will be empty", object.name());
            self.reader.report.warn(place, reason);
        }
        counters
    }
}
