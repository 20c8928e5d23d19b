//! Any bytes are a sample of counters or none: one that is comes back from its parts, and its items are valid JSON in valid UTF-8
//! with nothing in a value but a number. Input: the payload itself.

use miniserde::json::{self, Object, Value};
use omsd::limits::PERF_INSTANCES_MAX;
use omsd::record::perf::{Sample, Writer, decode};
use omsd::upload::Stream;
use omsd::upload::items::{Renderer, ThisHost};
use omsd::upload::text::Text;

/// What samples are made of.
pub const WORDS: &[&[u8]] = &[
    b"\0\xff\0",
    b"\x01\xff\x07",
    b"\x03\x0f\0",
    b"\x06\0\0",
    b"\x06_Total",
    b"\x010",
    b"\0",
    b"\x01\0\0\0\0\0\0\xd0\x3f",
    b"\x01\xff\xff\xff\xff\xff\xff\xef\x7f",
    b"\x01\0\0\0\0\0\0\xf0\x7f",
    b"\x01\x01\0\0\0\0\0\0\0",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\x80\x80\x80\x80\x80\x80\x80\x10",
    b"\xe8\x07",
    b"\xc3\xa9\xff",
];

/// See the head of this file.
pub fn check(data: &[u8]) {
    let mut items = Text::default();
    let host = ThisHost { name: String::from("vm7"), address: None };
    let rendered = Renderer::new(host, |_| 0).item(Stream::Perf, 0, data, &mut items);
    let Some(sample) = decode(data) else {
        assert!(!rendered);
        return;
    };
    assert!(rendered);
    check_items(&sample, items.as_bytes());
    check_again(&sample);
}

fn check_items(sample: &Sample<'_>, items: &[u8]) {
    let text = std::str::from_utf8(items).expect("valid UTF-8");
    let items: Vec<Object> = json::from_str(&format!("[{text}]")).expect("valid JSON");
    let instances: Vec<_> = sample.instances().collect();
    assert!(items.len() == instances.len() && (1..=PERF_INSTANCES_MAX).contains(&items.len()));
    for (item, instance) in items.iter().zip(instances) {
        let Some(Value::Array(pairs)) = item.get("Collections") else { panic!("no array: {text}") };
        let values: Vec<_> = instance.values().collect();
        assert_eq!(pairs.len(), values.len());
        for (pair, (name, value)) in pairs.iter().zip(values) {
            let Value::Object(pair) = pair else { panic!("no pair: {text}") };
            let (Some(Value::String(counter)), Some(Value::String(shown))) =
                (pair.get("CounterName"), pair.get("Value"))
            else {
                panic!("no texts: {text}")
            };
            assert_eq!(counter, name);
            let number: f64 = shown.parse().expect("a number");
            let near = (number - value).abs() <= value * 1e-5 + 1e-16;
            assert!(near || value > u64::MAX as f64, "{value:e} became {shown}");
        }
    }
}

/// Put in again, with the counters that it has, it is the same sample.
fn check_again(sample: &Sample<'_>) {
    let all = sample.object.counters();
    let mut writer = Writer::default();
    writer.begin(sample.object, u16::MAX >> (16 - all.len()));
    let mut count = 0;
    for instance in sample.instances() {
        if !writer.has_room() {
            break;
        }
        let value = |name: &&str| instance.values().find(|(counter, _)| counter == name).map(|(_, value)| value);
        writer.add(instance.name, &all.iter().map(value).collect::<Vec<_>>());
        count += 1;
    }
    let payload = writer.payload().expect("an instance");
    let again = decode(payload).expect("a sample");
    for (found, expected) in again.instances().zip(sample.instances()) {
        assert!(expected.name.starts_with(found.name));
        assert!(found.values().eq(expected.values()));
    }
    assert_eq!(again.instances().count(), count);
}
