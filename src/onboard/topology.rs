//! The topology request: what an agent tells the service about itself, signed with the workspace's key, and the answer.
//! Everything here takes bytes and gives bytes; `mod.rs` does the talking.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::SharedKey;
use crate::crypto;
use crate::syslog::date_from_days;
use crate::upload::admin_conf::AdminConf;

/// What the request says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The host's name, without line end.
    pub host_name: &'a str,
    /// GUID of the agent.
    pub agent_guid: &'a str,
    /// The client certificate.
    pub certificate_pem: &'a str,
    /// The operating system.
    pub system: &'a System,
}

/// An operating system as the service knows it. None of the fields is empty: the service answers 403 to a request without them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    /// `Ubuntu`
    pub name: String,
    /// `22.04`
    pub version: String,
    /// `Canonical Group Limited`
    pub manufacturer: String,
}

impl System {
    /// Reads the original's `scx-release`. `None` unless all three facts are there.
    pub fn from_scx_release(text: &str) -> Option<System> {
        let value = |key| value_of(text, key);
        Some(System { name: value("OSName")?, version: value("OSVersion")?, manufacturer: value("OSManufacturer")? })
    }

    /// Reads `os-release`. `None` without a name. Rolling distributions have no version: it is `0` then.
    /// Source: os-release(5).
    pub fn from_os_release(text: &str) -> Option<System> {
        let name = value_of(text, "NAME")?;
        let version =
            value_of(text, "VERSION_ID").or_else(|| value_of(text, "BUILD_ID")).unwrap_or_else(|| "0".to_owned());
        let manufacturer = match value_of(text, "ID").as_deref() {
            Some("ubuntu") => "Canonical Group Limited".to_owned(), // as the original says
            _ => value_of(text, "VENDOR_NAME").unwrap_or_else(|| name.clone()),
        };
        Some(System { name, version, manufacturer })
    }

    /// Reads the one line of `redhat-release` on systems older than `os-release`: `CentOS release 6.10 (Final)`.
    pub fn from_redhat_release(text: &str) -> Option<System> {
        let (name, rest) = text.trim().split_once(" release ")?;
        let version = rest.split_whitespace().next()?;
        Some(System { name: name.to_owned(), version: version.to_owned(), manufacturer: name.to_owned() })
    }

    /// What is said when no file says anything.
    pub fn unknown() -> System {
        System { name: "Linux".to_owned(), version: "0".to_owned(), manufacturer: "Linux".to_owned() }
    }
}

/// The value of `KEY=value`, `KEY="value"` or `KEY='value'`; `None` if absent or empty.
fn value_of(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('='))?.trim();
    let unquoted = ['"', '\''].into_iter().find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some(unquoted.unwrap_or(value).to_owned()).filter(|value| !value.is_empty())
}

/// What every document starts with, behind the name of its root.
const PREFACE: &str = "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
    xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
    xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\">";

/// The body of the onboarding request, byte for byte as the original's, but for the line end that it has in the host name.
pub fn request_body(facts: &Facts) -> String {
    body(facts, "\n")
}

/// The body of a topology heartbeat: the same but for what joins the lines of the certificate.
pub fn heartbeat_body(facts: &Facts) -> String {
    body(facts, " ")
}

/// The body that tells the service of a new certificate.
pub fn renewal_body(certificate_pem: &str) -> String {
    let certificate = base64_lines(certificate_pem, " ");
    format!(
        "<?xml version=\"1.0\"?>\n<CertificateUpdateRequest {PREFACE}\
         <NewCertificate>{certificate}</NewCertificate></CertificateUpdateRequest>"
    )
}

/// Where topology requests of an onboarded agent go: on the host that its data goes to or, where that is of the cloud's
/// pattern `ID.ods.DOMAIN`, on `ID.oms.DOMAIN`.
pub fn url(conf: &AdminConf) -> String {
    let rest = conf.oms_endpoint.strip_prefix("https://").unwrap_or("");
    let host = rest.split('/').next().unwrap_or("");
    let host = match host.split_once(".ods.") {
        Some((id, domain)) if id.eq_ignore_ascii_case(&conf.workspace_id) => format!("{id}.oms.{domain}"),
        _ => host.to_owned(),
    };
    format!("https://{host}{PATH}")
}

/// Path of topology requests.
pub const PATH: &str = "/AgentService.svc/LinuxAgentTopologyRequest";

fn base64_lines(certificate_pem: &str, between: &str) -> String {
    let lines = certificate_pem.lines().filter(|line| !line.starts_with('-'));
    lines.collect::<alloc::vec::Vec<_>>().join(between)
}

fn body(facts: &Facts, between: &str) -> String {
    let system = facts.system;
    let certificate = base64_lines(facts.certificate_pem, between);
    format!(
        "<?xml version=\"1.0\"?>\n<AgentTopologyRequest {PREFACE}\
         <FullyQualfiedDomainName>{}</FullyQualfiedDomainName><EntityTypeId>{}</EntityTypeId>\
         <AuthenticationCertificate>{certificate}</AuthenticationCertificate>\
         <OperatingSystem><InContainer>False</InContainer>\
         <Name>{}</Name><Version>{}</Version><Manufacturer>{}</Manufacturer>\
         <Telemetry></Telemetry><ProcessorArchitecture>x64</ProcessorArchitecture></OperatingSystem>\
         </AgentTopologyRequest>",
        escaped(facts.host_name),
        escaped(facts.agent_guid),
        escaped(&system.name),
        escaped(&system.version),
        escaped(&system.manufacturer),
    )
}

fn escaped(text: &str) -> String {
    let text = text.replace(|character: char| character.is_control(), " ");
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `x-ms-Date` of a moment, in UTC: nine digits of the second and a numeric offset.
pub fn request_date(unix_us: u64) -> String {
    let unix_s = i64::try_from(unix_us / 1_000_000).unwrap_or(0);
    let (year, month, day) = date_from_days(unix_s.div_euclid(86_400));
    let second = unix_s.rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}000+00:00", unix_us % 1_000_000)
}

/// `x-ms-SHA256_Content`: what the body is known by.
pub fn content_hash(body: &[u8]) -> String {
    STANDARD.encode(crypto::sha256(&[body]))
}

/// The second half of `Authorization`: date and content hash, signed.
pub fn signature(key: &SharedKey, date: &str, content_hash: &str) -> String {
    let parts = [date, "\n", content_hash, "\n"].map(str::as_bytes);
    STANDARD.encode(crypto::hmac_sha256(key.bytes(), &parts))
}

/// What the service answers; a value that it does not send, or that is no URL, is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Response {
    /// Where a new certificate would be sent.
    pub certificate_update_endpoint: String,
    /// The configuration service.
    pub dsc_endpoint: String,
    /// The agent is to get a new certificate.
    pub update_certificate: bool,
    /// Seconds to the next heartbeat; `None` unless it is from a minute to a week.
    pub interval_s: Option<u32>,
}

/// Reads the answer's body.
pub fn parse_response(body: &[u8]) -> Response {
    let text = String::from_utf8_lossy(body);
    let dsc = element(&text, "DscConfiguration").and_then(|inner| element(inner, "Endpoint"));
    let renewal = element(&text, "CertificateUpdateEndpoint").filter(|url| url.ends_with("RenewCertificate"));
    let tag = text.find("<CertificateUpdateEndpoint").and_then(|at| text[at..].split('>').next()).unwrap_or("");
    Response {
        certificate_update_endpoint: https_url(renewal),
        dsc_endpoint: https_url(dsc),
        update_certificate: attribute(tag, "updateCertificate") == Some("true"),
        interval_s: attribute(&text, "queryInterval").and_then(seconds).filter(|seconds| INTERVAL_S.contains(seconds)),
    }
}

/// Intervals between heartbeats that are believed: a minute to a week, as in the original.
const INTERVAL_S: core::ops::RangeInclusive<u32> = 60..=7 * 86_400;

/// The value of the first attribute of that name.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value)
}

/// The whole seconds of a duration such as `PT1H30M`; years and months are no fixed time. Source: ISO 8601-1, 5.5.2.
fn seconds(duration: &str) -> Option<u32> {
    let mut rest = duration.strip_prefix('P')?;
    let (mut total, mut in_time) = (0_u32, false);
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix('T') {
            (rest, in_time) = (time, true);
            continue;
        }
        let digits = rest.find(|character: char| !character.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit_s = match (rest.as_bytes()[digits], in_time) {
            (b'W', false) => 7 * 86_400,
            (b'D', false) => 86_400,
            (b'H', true) => 3600,
            (b'M', true) => 60,
            (b'S', true) => 1,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit_s)?)?;
        rest = &rest[digits + 1..];
    }
    Some(total)
}

/// The service's `<Reason>` for a refusal, in one line of at most 200 characters.
pub fn parse_reason(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let reason = unescaped(element(&text, "Reason")?);
    let line: String = reason.chars().map(|shown| if shown.is_control() { ' ' } else { shown }).take(200).collect();
    Some(line).filter(|line| !line.is_empty())
}

/// The trimmed content of the first element of that name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = text;
    loop {
        rest = &rest[rest.find('<')? + 1..];
        let Some(tail) = rest.strip_prefix(name) else { continue };
        // Not an element whose name only starts so.
        if tail.starts_with(|next: char| next == '>' || next.is_whitespace()) {
            let content = &tail[tail.find('>')? + 1..];
            return Some(content[..content.find(&format!("</{name}"))?].trim());
        }
    }
}

fn https_url(text: Option<&str>) -> String {
    const URL_BYTES_MAX: usize = 2048;
    let fine = |text: &&str| {
        text.starts_with("https://") && text.len() <= URL_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    text.filter(fine).map_or_else(String::new, unescaped)
}

fn unescaped(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&apos;", "'").replace("&quot;", "\"");
    text.replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[track_caller]
    fn check_signature(key: &str, date: &str, content_hash: &str, expected: &str) {
        let key = SharedKey::parse(key.into()).unwrap();
        assert_eq!(signature(&key, date, content_hash), expected);
    }

    #[test]
    fn recorded_requests_have_their_recorded_signatures() {
        let hash = content_hash(b"<?xml version=\"1.0\"?>\n<AgentTopologyRequest/>");
        assert_eq!(hash, "HgGkVf6xF+k+48/Gqdf+76U9xzG6InNlDa4+SDybXtk=");
        check_signature(
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==",
            "2024-01-02T03:04:05.678901234+00:00",
            &hash,
            "Vr+m1HWHkeu+l3Jo4LmPJ1IRD2v1pF1afuRqFUHeuKg=",
        );
        check_signature(
            "qoTgVB0a1393p4FUncrY0nc/U1/CkOYlXz3ok3Oe79gSB6NLa853hiQzcwcyBb10Rjj7iswRvoJGtLJUD/o/yw==",
            "2015-10-09T22:51:19.259645500-07:00",
            "5PWvuBVXOgrizTvwU/n9IVA7wgKDj4ihFVWUhb9j9s0=",
            "K6h/Cxyr4lYZPX4WiKwgbwUnumOSAFa71AQIz6VnDpw=",
        );
    }

    #[test]
    fn the_body_has_the_layout_of_the_original_and_no_line_end_in_the_host_name() {
        let system =
            System::from_scx_release("OSName=Ubuntu\nOSVersion=22.04\nOSManufacturer=Canonical Group Limited\n");
        let body = request_body(&Facts {
            host_name: "web01",
            agent_guid: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427",
            certificate_pem: "-----BEGIN CERTIFICATE-----\nMIID\nAAAA\n-----END CERTIFICATE-----\n",
            system: &system.unwrap(),
        });
        assert_eq!(
            body,
            "<?xml version=\"1.0\"?>\n<AgentTopologyRequest xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\">\
             <FullyQualfiedDomainName>web01</FullyQualfiedDomainName>\
             <EntityTypeId>1b4e28ba-2fa1-4d2e-883f-0016d3cca427</EntityTypeId>\
             <AuthenticationCertificate>MIID\nAAAA</AuthenticationCertificate><OperatingSystem>\
             <InContainer>False</InContainer><Name>Ubuntu</Name><Version>22.04</Version>\
             <Manufacturer>Canonical Group Limited</Manufacturer><Telemetry></Telemetry>\
             <ProcessorArchitecture>x64</ProcessorArchitecture></OperatingSystem></AgentTopologyRequest>"
        );
    }

    #[test]
    fn a_heartbeat_joins_the_lines_of_the_certificate_by_spaces() {
        let certificate_pem = "-----BEGIN CERTIFICATE-----\nMIID\nAAAA\n-----END CERTIFICATE-----\n";
        let facts = Facts { host_name: "h", agent_guid: "a", certificate_pem, system: &System::unknown() };
        let expected = request_body(&facts).replace("MIID\nAAAA", "MIID AAAA");
        assert_eq!(heartbeat_body(&facts), expected);
        assert!(expected.contains("<Telemetry></Telemetry>"));
        assert_eq!(
            renewal_body(certificate_pem),
            "<?xml version=\"1.0\"?>\n<CertificateUpdateRequest xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
             xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\">\
             <NewCertificate>MIID AAAA</NewCertificate></CertificateUpdateRequest>"
        );
    }

    #[track_caller]
    fn check_url(oms_endpoint: &str, expected: &str) {
        let conf = AdminConf { workspace_id: "W1".into(), oms_endpoint: oms_endpoint.into(), ..AdminConf::default() };
        assert_eq!(url(&conf), format!("{expected}/AgentService.svc/LinuxAgentTopologyRequest"));
    }

    #[test]
    fn heartbeats_go_to_the_workspaces_other_host_or_to_the_endpoint_that_was_given() {
        check_url("https://w1.ods.opinsights.azure.us/OperationalData.svc/P", "https://w1.oms.opinsights.azure.us");
        check_url("https://127.0.0.1:8443/OperationalData.svc/P", "https://127.0.0.1:8443");
        check_url("https://other.ods.example/OperationalData.svc/P", "https://other.ods.example");
    }

    #[test]
    fn a_name_cannot_write_xml() {
        let system = System { name: "A&B".into(), ..System::unknown() };
        let facts = Facts { host_name: "<x>\n", agent_guid: "a", certificate_pem: "", system: &system };
        let body = request_body(&facts);
        assert!(body.contains("Name>&lt;x&gt; </") && body.contains("<Name>A&amp;B</Name>"), "{body}");
    }

    #[test]
    fn the_date_has_nine_digits_and_an_offset() {
        assert_eq!(request_date(1_704_164_645_678_901), "2024-01-02T03:04:05.678901000+00:00");
        assert_eq!(request_date(7), "1970-01-01T00:00:00.000007000+00:00");
    }

    #[track_caller]
    fn check_system(found: Option<System>, expected: [&str; 3]) {
        let [name, version, manufacturer] = expected.map(ToOwned::to_owned);
        assert_eq!(found, Some(System { name, version, manufacturer }));
    }

    #[test]
    fn every_kind_of_release_file_gives_three_facts() {
        check_system(
            System::from_os_release("PRETTY_NAME=\"Ubuntu 22.04\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"22.04\"\nID=ubuntu\n"),
            ["Ubuntu", "22.04", "Canonical Group Limited"],
        );
        check_system(
            System::from_os_release("NAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\nID=debian"),
            ["Debian GNU/Linux", "12", "Debian GNU/Linux"],
        );
        check_system(
            System::from_os_release("NAME=Fedora\nVENDOR_NAME=\"Fedora Project\"\nVERSION_ID="),
            ["Fedora", "0", "Fedora Project"],
        );
        check_system(System::from_os_release("NAME=Arch\nBUILD_ID=rolling"), ["Arch", "rolling", "Arch"]);
        check_system(System::from_redhat_release("CentOS release 6.10 (Final)\n"), ["CentOS", "6.10", "CentOS"]);
        assert_eq!(System::from_os_release("ID=x"), None);
        assert_eq!(System::from_scx_release("OSName=x\nOSVersion=1"), None);
        assert_eq!(System::from_redhat_release(""), None);
    }

    const ANSWER: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><LinuxAgentTopologyResponse queryInterval=\"PT1H\" \
        id=\"6f2c\"><CertificateUpdateEndpoint updateCertificate=\"false\">https://w.oms.example/ConfigurationService.Svc\
        /RenewCertificate</CertificateUpdateEndpoint><DscConfiguration><Endpoint>https://dsc.example/Accounts/w/Nodes\
        (AgentId='a')</Endpoint><NodeConfigurationName>x</NodeConfigurationName></DscConfiguration>\
        </LinuxAgentTopologyResponse>";

    #[test]
    fn the_two_endpoints_are_found_in_an_answer() {
        let response = parse_response(ANSWER.as_bytes());
        assert_eq!(
            response.certificate_update_endpoint,
            "https://w.oms.example/ConfigurationService.Svc/RenewCertificate"
        );
        assert_eq!(response.dsc_endpoint, "https://dsc.example/Accounts/w/Nodes(AgentId='a')");
        assert_eq!(
            parse_response(ANSWER.replace("://dsc", "://a&amp;b.dsc").as_bytes()).dsc_endpoint[..13],
            *"https://a&b.d"
        );
    }

    #[track_caller]
    fn check_interval(duration: &str, expected: Option<u32>) {
        let answer = ANSWER.replace("PT1H", duration);
        assert_eq!(parse_response(answer.as_bytes()).interval_s, expected, "{duration}");
    }

    #[test]
    fn intervals_from_a_minute_to_a_week_are_believed() {
        check_interval("PT1H", Some(3600));
        check_interval("PT1H30M5S", Some(5405));
        check_interval("PT60S", Some(60));
        check_interval("P7D", Some(604_800));
        check_interval("P1W", Some(604_800));
        check_interval("P1DT1M", Some(86_460));
        for bad in
            ["PT59S", "P7DT1S", "P1M", "P1Y", "PT1D", "1H", "PT", "", "PTH", "PT1.5H", "PT99999999999H", "PT9999999H"]
        {
            check_interval(bad, None);
        }
        assert_eq!(parse_response(b"<R/>").interval_s, None);
    }

    #[test]
    fn only_true_asks_for_a_new_certificate() {
        assert!(!parse_response(ANSWER.as_bytes()).update_certificate);
        let asks = |value: &str| parse_response(ANSWER.replace("\"false\"", value).as_bytes()).update_certificate;
        assert!(asks("\"true\""));
        assert!(!asks("\"True\"") && !asks("\"\"") && !asks("\"true"));
        let elsewhere = ANSWER.replace("id=\"6f2c\"", "updateCertificate=\"true\"");
        assert!(!parse_response(elsewhere.as_bytes()).update_certificate);
    }

    #[test]
    fn an_answer_cut_anywhere_is_read_without_inventing_anything() {
        let whole = parse_response(ANSWER.as_bytes());
        for length in 0..ANSWER.len() {
            let part = parse_response(&ANSWER.as_bytes()[..length]);
            let expected = |found: &str, whole: &str| found.is_empty() || found == whole;
            assert!(expected(&part.certificate_update_endpoint, &whole.certificate_update_endpoint), "{length}");
            assert!(expected(&part.dsc_endpoint, &whole.dsc_endpoint), "{length}");
        }
    }

    #[test]
    fn what_is_no_url_is_dropped() {
        for bad in ["http://dsc.example/", "https://a b/", "https://a\nUUID=b/", "file:///etc/passwd", ""] {
            let text = format!("<DscConfiguration><Endpoint>{bad}</Endpoint></DscConfiguration>");
            assert_eq!(parse_response(text.as_bytes()).dsc_endpoint, "", "{bad}");
        }
        let long: Vec<u8> =
            format!("<DscConfiguration><Endpoint>https://{}</Endpoint></DscConfiguration>", "a".repeat(5000)).into();
        assert_eq!(parse_response(&long).dsc_endpoint, "");
        assert_eq!(
            parse_response(b"<CertificateUpdateEndpointX>https://RenewCertificate</CertificateUpdateEndpoint>"),
            Response::default()
        );
        assert_eq!(parse_response(b"\xff<<<>"), Response::default());
    }

    #[test]
    fn the_reason_of_a_refusal_is_one_line() {
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>403</Code><Reason>\n The key is &lt;wrong&gt;.\n</Reason></Error>";
        assert_eq!(parse_reason(body).as_deref(), Some("The key is <wrong>."));
        assert_eq!(parse_reason(b"<Reason></Reason>"), None);
        assert_eq!(parse_reason(b"no"), None);
    }
}
