//! ArcSight's Common Event Format: the header's seven fields and the extension's pairs, without allocation but for values with
//! escapes in them. Source: Micro Focus, "ArcSight Common Event Format", version 25.

use alloc::borrow::Cow;
use alloc::vec::Vec;

/// One event. Texts are as they were written, escapes included: [`text_of`] takes those out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Vendor, product and version of the device, the event's class, its name, its severity.
    pub header: [&'a [u8]; HEADER_FIELDS],
    /// What follows the header.
    pub extension: &'a [u8],
}

/// Fields of a header behind the format's version.
pub const HEADER_FIELDS: usize = 6;

/// The event in a message's text, which may have `CEF:` in front, or the syslog tag had it; `None` if the text is none.
pub fn parse(text: &[u8]) -> Option<Event<'_>> {
    let text = text.trim_ascii();
    let text = text.strip_prefix(b"CEF:").unwrap_or(text).trim_ascii_start();
    let (version, mut rest) = split_field(text)?;
    if version.is_empty() || !version.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut header = [&b""[..]; HEADER_FIELDS];
    for (index, field) in header.iter_mut().enumerate() {
        // Some senders leave out the bar in front of an extension that they do not have.
        (*field, rest) = split_field(rest).or((index + 1 == HEADER_FIELDS).then_some((rest, &[])))?;
    }
    Some(Event { header, extension: rest })
}

/// What is in front of the first `|` that is not escaped, and what is behind it.
fn split_field(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = unescaped(text, b'|')?;
    Some((&text[..at], &text[at + 1..]))
}

/// Where this byte first stands without a backslash in front that is not itself escaped.
fn unescaped(text: &[u8], wanted: u8) -> Option<usize> {
    let mut escaped = false;
    text.iter().position(|&byte| {
        let found = byte == wanted && !escaped;
        escaped = byte == b'\\' && !escaped;
        found
    })
}

/// The pairs of an extension, in their order: values may have blanks in them, so a value ends in front of the next key.
pub fn pairs(extension: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = extension;
    core::iter::from_fn(move || {
        let (key, value) = split_pair(rest)?;
        let next_key = next_key(value).unwrap_or(value.len());
        rest = &value[next_key..];
        Some((key, value[..next_key].trim_ascii_end()))
    })
}

/// The key that is in front of the first `=`, and what is behind it.
fn split_pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = unescaped(text, b'=')?;
    let start = text[..equals].iter().rposition(|byte| byte.is_ascii_whitespace()).map_or(0, |space| space + 1);
    Some((&text[start..equals], &text[equals + 1..]))
}

/// Where the next key starts: behind a blank, made of a key's characters only, `=` behind it.
fn next_key(value: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let equals = from + unescaped(&value[from..], b'=')?;
        // Not further back: no key has an `=` in it, and a value of nothing else would be looked at from its start for each.
        let blank = value[from..equals].iter().rposition(|byte| byte.is_ascii_whitespace());
        let fine = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'[' | b']');
        match blank.map(|blank| from + blank + 1) {
            Some(start) if start < equals && value[start..equals].iter().all(fine) => return Some(start),
            _ => from = equals + 1, // an `=` that should have been escaped
        }
    }
}

/// A field or value without its escapes: `\|`, `\=`, `\\`, `\n`, `\r`; any other backslash stays.
pub fn text_of(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let [first, tail @ ..] = rest {
        let (byte, behind) = match (first, tail) {
            (b'\\', [escaped @ (b'|' | b'=' | b'\\'), behind @ ..]) => (*escaped, behind),
            (b'\\', [b'n', behind @ ..]) => (b'\n', behind),
            (b'\\', [b'r', behind @ ..]) => (b'\r', behind),
            _ => (*first, tail),
        };
        text.push(byte);
        rest = behind;
    }
    Cow::Owned(text)
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// A whole number of 32 bits; another value has no column.
    Int,
    /// A whole number of 64 bits.
    Long,
    /// Any number.
    Real,
    /// A moment, given as milliseconds since 1970; another form has no column.
    Time,
}

/// The column of `CommonSecurityLog` that an extension's key has, and what it holds; `None`: it goes with the other extensions.
/// Source: "CEF and CommonSecurityLog field mapping" and the table's reference, both by Microsoft.
pub fn column(key: &[u8]) -> Option<(&'static str, Kind)> {
    let index = LINES.binary_search_by(|&line| line_at(line).0.as_bytes().cmp(key)).ok()?;
    let (_, column) = line_at(LINES[index]);
    let kind = match column.as_bytes()[0] {
        b'#' => Kind::Int,
        b'+' => Kind::Long,
        b'~' => Kind::Real,
        b'@' => Kind::Time,
        _ => return Some((column, Kind::Text)),
    };
    Some((&column[1..], kind))
}

/// Key and column of the line that starts there.
fn line_at(start: u16) -> (&'static str, &'static str) {
    let line = COLUMNS[usize::from(start)..].split('\n').next().unwrap_or("");
    line.split_once(' ').unwrap_or((line, line))
}

/// Keys in the order of their bytes, each with its column; in front of that, what it holds if that is no text: `#` Int, `+` Long,
/// `~` Real, `@` Time. One text, where a table of pairs would take three times the space in the program.
const COLUMNS: &str = "\
act DeviceAction
app ApplicationProtocol
c6a1 DeviceCustomIPv6Address1
c6a1Label DeviceCustomIPv6Address1Label
c6a2 DeviceCustomIPv6Address2
c6a2Label DeviceCustomIPv6Address2Label
c6a3 DeviceCustomIPv6Address3
c6a3Label DeviceCustomIPv6Address3Label
c6a4 DeviceCustomIPv6Address4
c6a4Label DeviceCustomIPv6Address4Label
cat DeviceEventCategory
cfp1 ~DeviceCustomFloatingPoint1
cfp1Label DeviceCustomFloatingPoint1Label
cfp2 ~DeviceCustomFloatingPoint2
cfp2Label DeviceCustomFloatingPoint2Label
cfp3 ~DeviceCustomFloatingPoint3
cfp3Label DeviceCustomFloatingPoint3Label
cfp4 ~DeviceCustomFloatingPoint4
cfp4Label DeviceCustomFloatingPoint4Label
cn1 +FieldDeviceCustomNumber1
cn1Label DeviceCustomNumber1Label
cn2 +FieldDeviceCustomNumber2
cn2Label DeviceCustomNumber2Label
cn3 +FieldDeviceCustomNumber3
cn3Label DeviceCustomNumber3Label
cnt #EventCount
cs1 DeviceCustomString1
cs1Label DeviceCustomString1Label
cs2 DeviceCustomString2
cs2Label DeviceCustomString2Label
cs3 DeviceCustomString3
cs3Label DeviceCustomString3Label
cs4 DeviceCustomString4
cs4Label DeviceCustomString4Label
cs5 DeviceCustomString5
cs5Label DeviceCustomString5Label
cs6 DeviceCustomString6
cs6Label DeviceCustomString6Label
destinationDnsDomain DestinationDnsDomain
destinationServiceName DestinationServiceName
destinationTranslatedAddress DestinationTranslatedAddress
destinationTranslatedPort #DestinationTranslatedPort
deviceCustomDate1 DeviceCustomDate1
deviceCustomDate1Label DeviceCustomDate1Label
deviceCustomDate2 DeviceCustomDate2
deviceCustomDate2Label DeviceCustomDate2Label
deviceDirection CommunicationDirection
deviceDnsDomain DeviceDnsDomain
deviceExternalId DeviceExternalID
deviceFacility DeviceFacility
deviceInboundInterface DeviceInboundInterface
deviceNtDomain DeviceNtDomain
deviceOutboundInterface DeviceOutboundInterface
devicePayloadId DevicePayloadId
deviceProcessName ProcessName
deviceTranslatedAddress DeviceTranslatedAddress
dhost DestinationHostName
dmac DestinationMACAddress
dntdom DestinationNTDomain
dpid #DestinationProcessId
dpriv DestinationUserPrivileges
dproc DestinationProcessName
dpt #DestinationPort
dst DestinationIP
dtz DeviceTimeZone
duid DestinationUserID
duser DestinationUserName
dvc DeviceAddress
dvchost DeviceName
dvcmac DeviceMacAddress
dvcpid #ProcessID
end @EndTime
externalId ExtID
fileCreateTime FileCreateTime
fileHash FileHash
fileId FileID
fileModificationTime FileModificationTime
filePath FilePath
filePermission FilePermission
fileType FileType
flexDate1 FlexDate1
flexDate1Label FlexDate1Label
flexNumber1 #FlexNumber1
flexNumber1Label FlexNumber1Label
flexNumber2 #FlexNumber2
flexNumber2Label FlexNumber2Label
flexString1 FlexString1
flexString1Label FlexString1Label
flexString2 FlexString2
flexString2Label FlexString2Label
fname FileName
fsize #FileSize
in +ReceivedBytes
msg Message
oldFileCreateTime OldFileCreateTime
oldFileHash OldFileHash
oldFileId OldFileID
oldFileModificationTime OldFileModificationTime
oldFileName OldFileName
oldFilePath OldFilePath
oldFilePermission OldFilePermission
oldFileSize #OldFileSize
oldFileType OldFileType
out +SentBytes
outcome EventOutcome
proto Protocol
reason Reason
request RequestURL
requestClientApplication RequestClientApplication
requestContext RequestContext
requestCookies RequestCookies
requestMethod RequestMethod
rt ReceiptTime
shost SourceHostName
smac SourceMACAddress
sntdom SourceNTDomain
sourceDnsDomain SourceDnsDomain
sourceServiceName SourceServiceName
sourceTranslatedAddress SourceTranslatedAddress
sourceTranslatedPort #SourceTranslatedPort
spid #SourceProcessId
spriv SourceUserPrivileges
sproc SourceProcessName
spt #SourcePort
src SourceIP
start @StartTime
suid SourceUserID
suser SourceUserName
type #EventType";

/// Where each line of [`COLUMNS`] starts.
const LINES: [u16; LINE_COUNT] = line_starts();

const LINE_COUNT: usize = {
    let (bytes, mut count, mut at) = (COLUMNS.as_bytes(), 1, 0);
    while at < bytes.len() {
        count += (bytes[at] == b'\n') as usize;
        at += 1;
    }
    count
};

const _: () = assert!(COLUMNS.len() <= u16::MAX as usize);

#[expect(clippy::cast_possible_truncation, reason = "asserted above")]
const fn line_starts() -> [u16; LINE_COUNT] {
    let (bytes, mut starts, mut line, mut at) = (COLUMNS.as_bytes(), [0; LINE_COUNT], 1, 0);
    while at < bytes.len() {
        if bytes[at] == b'\n' {
            starts[line] = (at + 1) as u16;
            line += 1;
        }
        at += 1;
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    fn shown(raw: &[u8]) -> String {
        String::from_utf8(text_of(raw).into_owned()).unwrap()
    }

    #[track_caller]
    fn check(text: &str, header: [&str; HEADER_FIELDS], expected: &[(&str, &str)]) {
        let event = parse(text.as_bytes()).unwrap_or_else(|| panic!("no event: {text}"));
        assert_eq!(event.header.map(shown), header.map(String::from), "{text}");
        let found: Vec<(String, String)> =
            pairs(event.extension).map(|(key, value)| (shown(key), shown(value))).collect();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(key, value)| (String::from(*key), String::from(*value))).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn header_and_extension_lose_their_escapes_and_nothing_else() {
        check(
            "CEF:0|Vend\\|or|Pro\\\\duct|1.0|100|trojan stopped|10|src=10.0.0.1 dst=2.1.2.2 spt=1232",
            ["Vend|or", "Pro\\duct", "1.0", "100", "trojan stopped", "10"],
            &[("src", "10.0.0.1"), ("dst", "2.1.2.2"), ("spt", "1232")],
        );
        check(
            "0|a|b|c|d|e|Very-High|msg=two words\\nand a \\= sign  act=blocked a | | cs1Label=x",
            ["a", "b", "c", "d", "e", "Very-High"],
            &[("msg", "two words\nand a = sign"), ("act", "blocked a | |"), ("cs1Label", "x")],
        );
        check("CEF: 1|a|b|c|d|e|5|", ["a", "b", "c", "d", "e", "5"], &[]);
        check("CEF:0|a|b|c|d|e|5", ["a", "b", "c", "d", "e", "5"], &[]);
        check("CEF:0||||||", [""; 6], &[]);
        check(
            "CEF:0|a|b|c|d|e|5|request=http://x/?a=b&c=d msg= out=",
            ["a", "b", "c", "d", "e", "5"],
            &[("request", "http://x/?a=b&c=d"), ("msg", ""), ("out", "")],
        );
        check(
            "CEF:0|a|b|c|d|e|5|msg=a=b c =d e$=f act=g",
            ["a", "b", "c", "d", "e", "5"],
            &[("msg", "a=b c =d e$=f"), ("act", "g")],
        );
        check("0|a|b|c|d|e|5|no pairs", ["a", "b", "c", "d", "e", "5"], &[]);
        check("0|a|b|c|d|e|5|ad.x[0]=1 \\=", ["a", "b", "c", "d", "e", "5"], &[("ad.x[0]", "1 =")]);
    }

    #[test]
    fn a_chunk_of_events_of_nothing_but_equals_signs_is_read_at_once() {
        // A step for each pair of them would keep this busy for an hour.
        let extension = [b"a".as_slice(), &[b'='; crate::limits::MESSAGE_BYTES_MAX]].concat();
        for _ in 0..crate::limits::CHUNK_BYTES_MAX / extension.len() {
            assert_eq!(pairs(&extension).count(), 1);
        }
    }

    #[test]
    fn what_has_no_header_is_no_event() {
        for text in ["", "CEF:", "CEF:0", "CEF:0|a|b|c|d", "CEF:x|a|b|c|d|e|5|", "text", "CEF:|a|b|c|d|e|5|"] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn every_key_is_found_and_others_are_not() {
        let lines: Vec<&str> = COLUMNS.lines().collect();
        assert!(lines.is_sorted_by(|a, b| a.split(' ').next() < b.split(' ').next()), "not in order");
        for line in lines {
            let (key, expected) = line.split_once(' ').unwrap();
            let (column, kind) = column(key.as_bytes()).unwrap_or_else(|| panic!("{key}"));
            assert!(expected.ends_with(column), "{key}");
            assert_eq!(kind == Kind::Text, expected == column, "{key}");
        }
        assert_eq!(column(b"spt"), Some(("SourcePort", Kind::Int)));
        assert_eq!(column(b"in"), Some(("ReceivedBytes", Kind::Long)));
        for key in ["", "ac", "actx", "type2", "zzz", "ad.field"] {
            assert_eq!(column(key.as_bytes()), None, "{key}");
        }
    }
}
