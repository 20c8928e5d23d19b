//! One record as the row, or rows, of a table: a flat JSON object with the columns of `Syslog`, of `CommonSecurityLog`, or of a
//! table of our own for what has none that may be written to. Source of columns and types: the tables' reference by Microsoft.

use super::Renderer;
use crate::config::SyslogTable;
use crate::record::{Record, Sender, encode, perf};
use crate::syslog::{self, Message};
use crate::upload::Stream;
use crate::upload::cef::{self, Kind};
use crate::upload::members::members;
use crate::upload::number::put_number;
use crate::upload::text::Text;
use crate::upload::times::time_text;
use alloc::vec::Vec;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowForm {
    /// The column that says when a record was received.
    pub time_column: &'static str,
    /// Which table's columns syslog rows have.
    pub table: SyslogTable,
    /// `SeverityLevel` of a warning: `warning`, as today's agents write it, or the original's `warn`.
    pub warning: &'static str,
}

impl Default for RowForm {
    fn default() -> Self {
        RowForm { time_column: "TimeGenerated", table: SyslogTable::Syslog, warning: "warning" }
    }
}

/// What stands between two rows: a row has no line feed in it, so rows can be told apart.
pub const BETWEEN: &[u8; 2] = b",\n";

impl Renderer {
    /// Appends the rows of one frame with [`BETWEEN`] between them; a sample without values has none. As [`Renderer::item`].
    pub fn rows(&mut self, form: &RowForm, stream: Stream, received_us: u64, payload: &[u8], out: &mut Text) -> bool {
        match stream {
            Stream::Syslog => match encode::decode(payload) {
                Some(Record { sender, message }) => self.syslog_row(form, received_us, Some(sender), message, out),
                None => return false,
            },
            Stream::Perf => match perf::decode(payload) {
                Some(sample) => self.perf_rows(form, received_us, &sample, out),
                None => return false,
            },
            Stream::Operation | Stream::Heartbeat => return own_row(form, payload, out),
        }
        true
    }

    /// Appends the row of a syslog message. Without a sender, `HostIP` is unknown.
    pub fn syslog_row(
        &mut self,
        form: &RowForm,
        received_us: u64,
        sender: Option<Sender>,
        message: &[u8],
        out: &mut Text,
    ) {
        let message = syslog::parse(message);
        self.put_times(form, received_us, &message, out);
        put_key("Computer", out);
        self.write_host(&message, sender, out);
        put_key_behind("CollectorHostName", out);
        out.put_escaped(self.short_name());
        match form.table {
            SyslogTable::Syslog => self.put_syslog(form, sender, &message, out),
            SyslogTable::CommonSecurityLog => put_security(&message, out),
        }
        out.put(b"}");
    }

    /// The start of a row, up to the comma behind its two times.
    fn put_times(&mut self, form: &RowForm, received_us: u64, message: &Message<'_>, out: &mut Text) {
        let received_ms = i64::try_from(received_us / 1000).unwrap_or(i64::MAX);
        out.put(b"{");
        put_key(form.time_column, out);
        out.put(self.received_text.text(received_ms));
        put_key_behind("EventTime", out);
        let event_ms = self.event_ms(message.timestamp, received_ms);
        out.put(self.event_text.text(event_ms));
        out.put(b"\",");
    }

    fn put_syslog(&mut self, form: &RowForm, sender: Option<Sender>, message: &Message<'_>, out: &mut Text) {
        put_key_behind("HostName", out);
        self.write_host(message, sender, out);
        put_key_behind("HostIP", out);
        self.write_host_ip(message, sender, out);
        put_key_behind("Facility", out);
        out.put_escaped(message.pri.facility().as_bytes());
        put_key_behind("SeverityLevel", out);
        out.put_slice(match message.pri.severity() {
            "warn" => form.warning.as_bytes(),
            severity => severity.as_bytes(),
        });
        put_key_behind("ProcessName", out);
        out.put_field(message.app_name);
        let process_id = message.procid.filter(|procid| is_int(procid));
        if let Some(digits) = process_id {
            out.put(br#"","ProcessID":"#);
            put_int(digits, out);
            out.put(br#","SyslogMessage":""#);
        } else {
            put_key_behind("SyslogMessage", out);
        }
        put_text(message, message.procid.filter(|_| process_id.is_none()), out);
        put_key_behind("SourceSystem", out);
        out.put(b"Linux\"");
    }

    fn perf_rows(&mut self, form: &RowForm, sampled_us: u64, sample: &perf::Sample<'_>, out: &mut Text) {
        let sampled_ms = i64::try_from(sampled_us / 1000).unwrap_or(i64::MAX);
        let mut first = true;
        for instance in sample.instances() {
            for (counter, value) in instance.values() {
                if !core::mem::take(&mut first) {
                    out.put(BETWEEN);
                }
                out.put(b"{");
                put_key(form.time_column, out);
                out.put(self.received_text.text(sampled_ms));
                put_key_behind("Computer", out);
                match self.short_name() {
                    b"" => out.put(b"Unknown host"),
                    name => out.put_escaped(name),
                }
                put_key_behind("ObjectName", out);
                out.put_slice(sample.object.name().as_bytes());
                put_key_behind("CounterName", out);
                out.put_slice(counter.as_bytes());
                put_key_behind("InstanceName", out);
                out.put_escaped(instance.name);
                out.put(br#"","CounterValue":"#);
                put_number(value, out);
                out.put(b"}");
            }
        }
    }
}

/// `"key":"`, for a text.
fn put_key(key: &str, out: &mut Text) {
    out.put(b"\"");
    out.put_slice(key.as_bytes());
    out.put(b"\":\"");
}

/// The same behind a text, which it ends.
fn put_key_behind(key: &str, out: &mut Text) {
    out.put(b"\",");
    put_key(key, out);
}

/// What has no column of its own, then the text, all in one field.
fn put_text(message: &Message<'_>, first: Option<&[u8]>, out: &mut Text) {
    let in_front = [first, message.msgid, message.structured_data];
    if in_front == [None; 3] {
        return out.put_field(message.msg);
    }
    let parts: Vec<&[u8]> = in_front.into_iter().flatten().chain([message.msg]).filter(|it| !it.is_empty()).collect();
    out.put_field(&parts.join(&b' '));
}

/// `sshd[812]:`, as RFC 3164 has it in front of the text: some events that are not CEF, such as Cisco's, are told by it.
fn tag(message: &Message<'_>) -> Option<Vec<u8>> {
    let procid = message.procid.map(|procid| [b"[", procid, b"]"].concat()).unwrap_or_default();
    let tag = [message.app_name, &procid, b":"].concat();
    (tag.len() > 1).then_some(tag)
}

/// The columns of `CommonSecurityLog` behind the host's. An event's parts that have no column go with the other extensions, so
/// nothing of it is lost.
fn put_security(message: &Message<'_>, out: &mut Text) {
    const HEADER: [&str; cef::HEADER_FIELDS] =
        ["DeviceVendor", "DeviceProduct", "DeviceVersion", "DeviceEventClassID", "Activity", "LogSeverity"];
    let Some(event) = cef::parse(message.msg) else {
        put_key_behind("Message", out);
        put_text(message, tag(message).as_deref(), out);
        return out.put(b"\"");
    };
    for (name, field) in HEADER.iter().zip(event.header) {
        put_key_behind(name, out);
        out.put_field(&cef::text_of(field));
    }
    out.put(b"\"");
    let mut others = Vec::new();
    let mut known: Vec<&str> = Vec::new();
    for (key, value) in cef::pairs(event.extension) {
        let text = cef::text_of(value);
        // A column that comes twice would make the row one that not every reader takes alike.
        let column = cef::column(key).filter(|(column, _)| !known.contains(column));
        match column {
            Some((column, kind)) if put_column(column, kind, &text, out) => known.push(column),
            _ => {
                others.extend_from_slice(if others.is_empty() { b"" } else { b";" });
                others.extend_from_slice(key);
                others.push(b'=');
                others.extend_from_slice(&text);
            }
        }
    }
    if !others.is_empty() {
        out.put(b",");
        put_key("AdditionalExtensions", out);
        out.put_field(&others);
        out.put(b"\"");
    }
}

/// Appends a column and its value; `false`: the value is none of this kind, and nothing was appended.
fn put_column(column: &str, kind: Kind, text: &[u8], out: &mut Text) -> bool {
    let number = core::str::from_utf8(text).unwrap_or("");
    let fits = match kind {
        Kind::Text => true,
        Kind::Int => number.parse::<i32>().is_ok(),
        Kind::Long => number.parse::<i64>().is_ok(),
        Kind::Real => is_json_number(text),
        Kind::Time => number.parse::<u32>().is_err() && number.parse::<i64>().is_ok(),
    };
    if !fits {
        return false;
    }
    out.put(b",");
    put_key(column, out);
    match kind {
        Kind::Text => out.put_field(text),
        Kind::Time => out.put(&time_text(number.parse().unwrap_or(0))),
        _ => {
            out.truncate(out.len() - 1);
            match kind {
                Kind::Real => out.put_slice(text),
                _ => put_int(text, out),
            }
            return true;
        }
    }
    out.put(b"\"");
    true
}

/// Whether digits are a number of 32 bits that is not negative.
fn is_int(digits: &[u8]) -> bool {
    let number = core::str::from_utf8(digits).unwrap_or("");
    digits.iter().all(u8::is_ascii_digit) && number.parse::<i32>().is_ok()
}

/// A whole number without what JSON does not allow: a plus sign, zeros in front.
fn put_int(text: &[u8], out: &mut Text) {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (&b"-"[..], digits),
        [b'+', digits @ ..] => (&b""[..], digits),
        digits => (&b""[..], digits),
    };
    let zeros = digits.iter().take_while(|&&digit| digit == b'0').count().min(digits.len() - 1);
    out.put_slice(sign);
    out.put_slice(&digits[zeros..]);
}

/// Digits, maybe with a sign, a point and more digits: what a sender writes and JSON takes.
fn is_json_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let point = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = point.map_or((text, &b"0"[..]), |at| (&text[..at], &text[at + 1..]));
    let digits = |text: &[u8]| !text.is_empty() && text.len() <= 40 && text.iter().all(u8::is_ascii_digit);
    digits(whole) && digits(fraction) && (whole == b"0" || whole[0] != b'0')
}

/// The columns that a heartbeat or an operation has, by the keys of the item that the agent made; others have none.
const OWN_COLUMNS: [(&str, &str); 13] = [
    ("Computer", "Computer"),
    ("OSType", "OSType"),
    ("OSName", "OSName"),
    ("OSMajorVersion", "OSMajorVersion"),
    ("OSMinorVersion", "OSMinorVersion"),
    ("Version", "Version"),
    ("SCAgentChannel", "SCAgentChannel"),
    ("ComputerPrivateIps", "ComputerPrivateIPs"),
    ("OperationStatus", "OperationStatus"),
    ("Detail", "Detail"),
    ("Solution", "Solution"),
    ("HelpLink", "HelpLink"),
    ("Category", "Category"),
];

/// An item that the agent made itself, under the names of the columns; its values are JSON texts already.
fn own_row(form: &RowForm, payload: &[u8], out: &mut Text) -> bool {
    let is_operation = members(payload).any(|(key, _)| key == b"OperationStatus");
    let mut columns = 0;
    for (key, value) in members(payload) {
        let column = match key {
            b"Timestamp" => form.time_column,
            b"Category" if is_operation => "OperationCategory",
            _ => match OWN_COLUMNS.iter().find(|(known, _)| known.as_bytes() == key) {
                Some((_, column)) => column,
                None => continue,
            },
        };
        out.put_slice(if columns == 0 { b"{" } else { b"," });
        put_key(column, out);
        out.truncate(out.len() - 1);
        if key == b"ComputerPrivateIps" {
            // A text that holds an array of addresses: here it is the array.
            let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(b"[]");
            inner.split(|&byte| byte == b'\\').for_each(|part| out.put_slice(part));
        } else {
            out.put_slice(value);
        }
        columns += 1;
    }
    out.put(b"}");
    columns > 0 && core::str::from_utf8(payload).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::ThisHost;
    use super::*;
    use crate::collect::Object;
    use crate::limits::{FIELD_BYTES_MAX, MESSAGE_BYTES_MAX, ROWS_BYTES_MAX};
    use alloc::format;
    use alloc::string::String;
    use core::net::IpAddr;

    /// 2026-07-02T12:00:00.123456Z
    const NOW_US: u64 = 1_782_993_600_123_456;

    fn renderer() -> Renderer {
        let host = ThisHost { name: String::from("web01.example.com"), address: Some(IpAddr::from([10, 0, 0, 4])) };
        Renderer::new(host, |time| time.unix_s_as_utc())
    }

    fn row_as(form: &RowForm, message: &[u8]) -> String {
        let mut out = Text::default();
        renderer().syslog_row(form, NOW_US, Some(Sender::Local), message, &mut out);
        let text = String::from_utf8(Vec::from(out.as_bytes())).expect("valid UTF-8");
        assert!(miniserde::json::from_str::<miniserde::json::Object>(&text).is_ok(), "{text}");
        text
    }

    fn row(message: &str) -> String {
        row_as(&RowForm::default(), message.as_bytes())
    }

    #[test]
    fn a_syslog_row_has_the_columns_of_the_table() {
        assert_eq!(
            row("<84>Jul  2 11:59:58 db07 sshd[0812]: x \"y\""),
            concat!(
                r#"{"TimeGenerated":"2026-07-02T12:00:00.123Z","EventTime":"2026-07-02T11:59:58.000Z","#,
                r#""Computer":"db07","CollectorHostName":"web01","HostName":"db07","HostIP":"Unknown IP","#,
                r#""Facility":"authpriv","SeverityLevel":"warning","ProcessName":"sshd","ProcessID":812,"#,
                r#""SyslogMessage":"x \"y\"","SourceSystem":"Linux"}"#
            )
        );
    }

    #[test]
    fn what_has_no_column_stands_in_front_of_the_text() {
        let message = |rest: &str| {
            let row = row(&format!("<13>1 - h a {rest}"));
            let start = row.find("ProcessName").unwrap();
            String::from(&row[start..])
        };
        let end = r#","SourceSystem":"Linux"}"#;
        for (rest, expected) in [
            ("p-1 ID [x y=\"z\"] text", r#"ProcessName":"a","SyslogMessage":"p-1 ID [x y=\"z\"] text""#),
            ("99999999999 - - text", r#"ProcessName":"a","SyslogMessage":"99999999999 text""#),
            ("-5 - - text", r#"ProcessName":"a","SyslogMessage":"-5 text""#),
            ("007 - [x] ", r#"ProcessName":"a","ProcessID":7,"SyslogMessage":"[x]""#),
            ("0 - - ", r#"ProcessName":"a","ProcessID":0,"SyslogMessage":"""#),
            ("- - - text", r#"ProcessName":"a","SyslogMessage":"text""#),
        ] {
            assert_eq!(message(rest), format!("{expected}{end}"), "{rest}");
        }
    }

    #[test]
    fn a_warning_is_called_as_wished() {
        assert!(row_as(&RowForm { warning: "warn", ..RowForm::default() }, b"<12>x").contains(r#""warn""#));
        assert!(row("<11>x").contains(r#""SeverityLevel":"err""#));
    }

    #[track_caller]
    fn check_security(message: &str, expected: &str) {
        let form = RowForm { table: SyslogTable::CommonSecurityLog, ..RowForm::default() };
        let row = row_as(&form, message.as_bytes());
        let start = r#"{"TimeGenerated":"2026-07-02T12:00:00.123Z","EventTime":"2026-07-02T11:59:58.000Z","Computer":"fw1","CollectorHostName":"web01","#;
        assert_eq!(row, format!("{start}{expected}}}"), "{message}");
    }

    #[test]
    fn a_cef_event_has_the_columns_of_the_security_table() {
        check_security(
            "<13>Jul  2 11:59:58 fw1 CEF: 0|Vend\\|or|P|1.0|100|Na\"me|10|src=10.0.0.1 spt=01232 dpt=x in=+5 cfp1=1.50 cn1=-7 start=1782993600123 end=Jul 2 act=a \\= b own=1 x=y z",
            concat!(
                r#""DeviceVendor":"Vend|or","DeviceProduct":"P","DeviceVersion":"1.0","DeviceEventClassID":"100","#,
                r#""Activity":"Na\"me","LogSeverity":"10","SourceIP":"10.0.0.1","SourcePort":1232,"ReceivedBytes":5,"#,
                r#""DeviceCustomFloatingPoint1":1.50,"FieldDeviceCustomNumber1":-7,"StartTime":"2026-07-02T12:00:00.123Z","#,
                r#""DeviceAction":"a = b","AdditionalExtensions":"dpt=x;end=Jul 2;own=1;x=y z""#
            ),
        );
        check_security(
            "<13>1 2026-07-02T11:59:58Z fw1 app - - - CEF:0|a|b|c|d|e|Low|src=1 src=2",
            concat!(
                r#""DeviceVendor":"a","DeviceProduct":"b","DeviceVersion":"c","DeviceEventClassID":"d","Activity":"e","#,
                r#""LogSeverity":"Low","SourceIP":"1","AdditionalExtensions":"src=2""#
            ),
        );
        check_security("<13>Jul  2 11:59:58 fw1 : no event", r#""Message":"no event""#);
        check_security("<13>Jul  2 11:59:58 fw1 app[7]: no event", r#""Message":"app[7]: no event""#);
        let asa = "%ASA-6-302014: Teardown TCP connection 1";
        check_security(&format!("<166>Jul  2 11:59:58 fw1 {asa}"), &format!(r#""Message":"{asa}""#));
    }

    #[test]
    fn a_field_is_cut_on_a_character_boundary_and_says_so() {
        let long = [&b"<13>1 - h a - - - "[..], "x✓".repeat(30_000).as_bytes()].concat();
        let (start, end) = ("\"SyslogMessage\":\"", " [cut]\",\"SourceSystem\"");
        let row = row_as(&RowForm::default(), &long);
        let field = row.split(start).nth(1).and_then(|rest| rest.split(end).next()).expect("cut");
        assert!(field.len() <= FIELD_BYTES_MAX - 6 && field.len() > FIELD_BYTES_MAX - 12, "{}", field.len());
        // Bytes that are no UTF-8 take three bytes each where they arrive.
        let noise = row_as(&RowForm::default(), &[0xff; 30_000]);
        let field = noise.split(start).nth(1).and_then(|rest| rest.split(end).next()).expect("cut");
        assert!(field.len() <= FIELD_BYTES_MAX - 6 && field.chars().all(|it| it == '\u{fffd}'));
        let whole = row_as(&RowForm::default(), "y".repeat(FIELD_BYTES_MAX).as_bytes());
        assert!(whole.contains(&"y".repeat(FIELD_BYTES_MAX)) && !whole.contains("[cut]"));
    }

    fn rows(stream: Stream, payload: &[u8]) -> Option<String> {
        let mut out = Text::default();
        let known = renderer().rows(&RowForm::default(), stream, NOW_US, payload, &mut out);
        known.then(|| String::from_utf8(Vec::from(out.as_bytes())).unwrap())
    }

    #[test]
    fn a_sample_is_a_row_for_each_value() {
        let mut writer = perf::Writer::default();
        writer.begin(Object::PhysicalDisk, 0b1011);
        writer.add(b"sda", &[Some(81920.0), Some(1.234e-5), Some(7.0), None]);
        writer.add(b"none", &[None; 4]);
        let start = r#"{"TimeGenerated":"2026-07-02T12:00:00.123Z","Computer":"web01","ObjectName":"Physical Disk","CounterName":"#;
        let expected = format!(
            "{start}\"Physical Disk Bytes/sec\",\"InstanceName\":\"sda\",\"CounterValue\":81920}},\n\
             {start}\"Avg. Disk sec/Read\",\"InstanceName\":\"sda\",\"CounterValue\":1.234e-05}}"
        );
        assert_eq!(rows(Stream::Perf, writer.payload().unwrap()), Some(expected));
        assert_eq!(rows(Stream::Perf, b"\xff"), None);
    }

    #[test]
    fn what_the_agent_says_of_itself_has_columns_too() {
        let beat = br#"{"Timestamp":"2024-01-02T03:04:05.678Z","Computer":"web01","OSName":"Ub\"untu","Category":"Agent","ComputerPrivateIps":"[\"10.0.0.4\",\"fd00::2\"]","Unknown":"x"}"#;
        assert_eq!(
            rows(Stream::Heartbeat, beat).as_deref(),
            Some(
                r#"{"TimeGenerated":"2024-01-02T03:04:05.678Z","Computer":"web01","OSName":"Ub\"untu","Category":"Agent","ComputerPrivateIPs":["10.0.0.4","fd00::2"]}"#
            )
        );
        let operation = br#"{"Timestamp":"2024-01-02T03:04:05.678Z","OperationStatus":"Warning","Detail":"d","Category":"omsd lost records"}"#;
        assert_eq!(
            rows(Stream::Operation, operation).as_deref(),
            Some(
                r#"{"TimeGenerated":"2024-01-02T03:04:05.678Z","OperationStatus":"Warning","Detail":"d","OperationCategory":"omsd lost records"}"#
            )
        );
        for payload in [&b""[..], b"{}", b"text", b"{\"Computer\":\"\xff\"}"] {
            assert_eq!(rows(Stream::Operation, payload), None, "{payload:?}");
        }
    }

    /// Property: whatever the bytes, a row is a JSON object, whichever the table.
    #[test]
    fn random_bytes_always_give_a_whole_row() {
        let pieces: [&[u8]; 14] =
            [b"<13>", b"CEF:0|", b"|", b"\\", b"=", b" src=", b" spt=", b"1", b"-", b"\xff", b" ", b"\n", b"in=", b"."];
        let mut state = 7_u64;
        let mut random = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % bound
        };
        for round in 0..20_000 {
            let mut message = Vec::from(if round % 2 == 0 { &b"CEF:0|a|b|c|d|e|5|"[..] } else { b"" });
            (0..random(20)).for_each(|_| message.extend_from_slice(pieces[random(pieces.len())]));
            for table in [SyslogTable::Syslog, SyslogTable::CommonSecurityLog] {
                row_as(&RowForm { table, ..RowForm::default() }, &message);
            }
        }
    }

    /// A host's name stands in a row twice, everything else once.
    #[test]
    fn the_largest_row_fits_one_request() {
        let longest = [b'\x01'; MESSAGE_BYTES_MAX];
        let row_bytes = |front: &[u8], behind: &[u8], table| {
            let message = [front, &longest[front.len() + behind.len()..], behind].concat();
            row_as(&RowForm { table, ..RowForm::default() }, &message).len()
        };
        let of_name = row_bytes(b"<13>Jul  2 11:59:58 ", b" a: b", SyslogTable::Syslog);
        assert!((12 * MESSAGE_BYTES_MAX - 1024..ROWS_BYTES_MAX).contains(&of_name), "{of_name}");
        let of_text = row_bytes(b"<13>Jul  2 11:59:58 a ", b"", SyslogTable::Syslog);
        let of_event = row_bytes(b"CEF:0|a|b|c|d|e|5|x=", b"", SyslogTable::CommonSecurityLog);
        for bytes in [of_text, of_event] {
            assert!((6 * MESSAGE_BYTES_MAX - 1024..of_name).contains(&bytes), "{bytes}");
        }
    }
}
