//! Any bytes are a sample of counters or none: one that is comes back from its parts, and its items are valid JSON in valid UTF-8
//! with nothing in a value but a number. Input: the payload itself.

use miniserde::json::{self, Object, Value};
use omsd::limits::PERF_INSTANCES_MAX;
use omsd::record::number::Number;
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
    b"\x9f\xc8\xd0\x07",
    b"\xeb\x9f\xc2\x1e",
    b"\x81\xd0\x86\x03",
    b"\xad\xd0\x86\x03",
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
            assert_eq!(number, double(value), "{value:?} became {shown}");
        }
    }
}

/// Put in again, with the counters that it has, it says the same.
fn check_again(sample: &Sample<'_>) {
    let all = sample.object.counters();
    let mut writer = Writer::default();
    writer.begin(sample.object, u16::MAX >> (16 - all.len()));
    let mut count = 0;
    for instance in sample.instances() {
        if !writer.has_room() {
            break;
        }
        let value =
            |name: &&str| instance.values().find(|(counter, _)| counter == name).map(|(_, value)| double(value));
        writer.add(instance.name, &all.iter().map(value).collect::<Vec<_>>());
        count += 1;
    }
    let payload = writer.payload().expect("an instance");
    let again = decode(payload).expect("a sample");
    for (found, expected) in again.instances().zip(sample.instances()) {
        assert!(expected.name.starts_with(found.name));
        let values = |(name, value)| (name, Some(double(value)).filter(|value| *value > SMALLEST));
        assert!(found.values().map(values).eq(expected.values().map(values)), "{found:?} was {expected:?}");
    }
    assert_eq!(again.instances().count(), count);
}

/// A double is not exactly the least fraction that there is, and may be below it.
const SMALLEST: f64 = 1.01e-16;

fn double(value: Number) -> f64 {
    let text = match value {
        Number::Whole(whole) => whole.to_string(),
        Number::Fraction { digits, exponent } => format!("{digits}e{}", i32::from(exponent) - 5),
    };
    text.parse().expect("a number")
}
