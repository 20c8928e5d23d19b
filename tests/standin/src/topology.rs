//! The onboarding request: everything the service checks before it believes an agent, and the answer.

use crate::clock;
use crate::http::Head;
use base64::prelude::{BASE64_STANDARD, Engine};
use ring::{digest, hmac};

/// Where onboarding requests go.
pub const PATH: &str = "/AgentService.svc/LinuxAgentTopologyRequest";
/// How far the agent's clock may be off.
const SKEW_S_MAX: i64 = 300;

/// An agent as the service remembers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Its workspace.
    pub workspace_id: String,
    /// `EntityTypeId` of its request.
    pub agent_guid: String,
    /// The host name it gave, untrimmed.
    pub host: String,
    /// Its client certificate, DER.
    pub certificate: Vec<u8>,
    /// The one that it has announced and not yet used for a heartbeat, DER.
    pub announced: Option<Vec<u8>>,
}

impl Agent {
    /// Whether it may be known by this certificate.
    pub fn has(&self, certificate: &[u8]) -> bool {
        self.certificate == certificate || self.announced.as_deref() == Some(certificate)
    }
}

/// What an agent is told in the answer to a topology request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// `updateCertificate`
    pub update_certificate: bool,
    /// `queryInterval`, an ISO 8601 duration.
    pub query_interval: String,
    /// Where new certificates go: path and all behind the service's own address.
    pub renewal_path: String,
    /// Host of the configuration service.
    pub dsc_host: String,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            update_certificate: false,
            query_interval: "PT1H".to_owned(),
            renewal_path: RENEWAL_PATH.to_owned(),
            dsc_host: "dsc.example.net".to_owned(),
        }
    }
}

/// Where new certificates are announced, unless [`Told`] says another place; those end likewise.
pub const RENEWAL_PATH: &str = "/ConfigurationService.Svc/RenewCertificate";

/// Why a request is not as it must be, and the status it gets for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// 400 to 413.
    pub status: u16,
    /// A sentence.
    pub reason: String,
}

/// A fault that the sender could mend by sending something else.
pub fn malformed(reason: impl Into<String>) -> Fault {
    Fault { status: 400, reason: reason.into() }
}

/// A fault of the sender's rights.
pub fn forbidden(reason: impl Into<String>) -> Fault {
    Fault { status: 403, reason: reason.into() }
}

/// Checks a topology request that came over TLS with this client certificate. `keys`: workspace ids and their shared keys, decoded.
pub fn check(
    head: &Head,
    body: &[u8],
    presented: Option<&[u8]>,
    keys: &[(String, Vec<u8>)],
    now_s: i64,
) -> Result<Agent, Fault> {
    let (workspace_id, signature) =
        header(head, "authorization")?.split_once("; ").ok_or(forbidden("Authorization is not `ID; signature`"))?;
    let (_, key) =
        keys.iter().find(|(id, _)| id.eq_ignore_ascii_case(workspace_id)).ok_or(forbidden("unknown workspace"))?;
    check_date(header(head, "x-ms-date")?, now_s)?;
    check_signature(head, body, key, signature)?;
    for (name, value) in [("x-ms-version", "August, 2014"), ("accept-language", "en-US")] {
        if header(head, name)? != value {
            return Err(malformed(format!("{name} is not {value:?}")));
        }
    }
    check_user_agent(head)?;
    read(body, workspace_id, presented)
}

/// Checks a topology heartbeat of one of the known agents: unsigned, known by its certificate alone. `Ok`: the agent, with the
/// certificate that it used as its only one.
pub fn check_heartbeat(
    head: &Head,
    body: &[u8],
    presented: Option<&[u8]>,
    known: &[Agent],
    now_s: i64,
) -> Result<Agent, Fault> {
    let certificate = presented.ok_or(forbidden("no client certificate in TLS"))?;
    let agent = known.iter().find(|agent| agent.has(certificate)).ok_or(forbidden("a certificate of no agent"))?;
    for name in ["authorization", "x-ms-version", "x-ms-sha256_content"] {
        if head.headers.iter().any(|(given, _)| given == name) {
            return Err(malformed(format!("{name} does not belong to a heartbeat")));
        }
    }
    check_date(header(head, "x-ms-date")?, now_s)?;
    if !header(head, "x-ms-date")?.ends_with("+00:00") || header(head, "accept-language")? != "en-US" {
        return Err(malformed("x-ms-Date is not in UTC, or Accept-Language is not en-US"));
    }
    check_user_agent(head)?;
    check_form(head)?;
    let beat = read(body, &agent.workspace_id, presented)?;
    if beat.agent_guid != agent.agent_guid {
        return Err(forbidden("the certificate is of another agent"));
    }
    check_joined(body, "AuthenticationCertificate")?;
    Ok(beat)
}

/// Checks the announcement of a new certificate. `Ok`: the agent with what it announced.
pub fn check_renewal(head: &Head, body: &[u8], presented: Option<&[u8]>, known: &[Agent]) -> Result<Agent, Fault> {
    let certificate = presented.ok_or(forbidden("no client certificate in TLS"))?;
    let agent = known.iter().find(|agent| agent.certificate == certificate);
    let agent = agent.ok_or(forbidden("announced with a certificate that is no agent's proved one"))?;
    check_form(head)?;
    check_joined(body, "NewCertificate")?;
    let body = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?;
    check_xml(body, "CertificateUpdateRequest")?;
    let new = decode_certificate(element(body, "NewCertificate")?)?;
    if new == agent.certificate {
        return Err(malformed("the new certificate is the old one"));
    }
    check_subject(&Agent { certificate: new.clone(), ..agent.clone() })?;
    Ok(Agent { announced: Some(new), ..agent.clone() })
}

fn check_form(head: &Head) -> Result<(), Fault> {
    match header(head, "content-type")? {
        "application/x-www-form-urlencoded" => Ok(()),
        _ => Err(malformed("Content-Type is not the one of curl's")),
    }
}

/// Base64 in lines of 64 characters, joined by single spaces.
fn check_joined(body: &[u8], name: &str) -> Result<(), Fault> {
    let body = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?;
    let lines: Vec<&str> = element(body, name)?.split(' ').collect();
    let (last, whole) = lines.split_last().expect("a split has a part");
    let digits = |line: &str| line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let fine = whole.iter().all(|line| line.len() == 64 && digits(line)) && (1..=64).contains(&last.len());
    if fine && digits(last) { Ok(()) } else { Err(malformed(format!("{name} is not joined by single spaces"))) }
}

/// The agent that a body of either kind tells of.
fn read(body: &[u8], workspace_id: &str, presented: Option<&[u8]>) -> Result<Agent, Fault> {
    let body = std::str::from_utf8(body).map_err(|_| malformed("the body is not UTF-8"))?;
    check_xml(body, "AgentTopologyRequest")?;
    let agent = Agent {
        workspace_id: workspace_id.to_owned(),
        agent_guid: element(body, "EntityTypeId")?.to_owned(),
        host: element(body, "FullyQualfiedDomainName")?.to_owned(), // spelt so on the wire
        certificate: decode_certificate(element(body, "AuthenticationCertificate")?)?,
        announced: None,
    };
    if !is_guid(&agent.agent_guid) {
        return Err(malformed("EntityTypeId is no GUID"));
    }
    if agent.host.trim().is_empty() {
        return Err(malformed("FullyQualfiedDomainName is empty"));
    }
    check_certificate(&agent, presented)?;
    if body.contains("<OperatingSystem>") {
        check_operating_system(body)?;
    }
    Ok(agent)
}

/// The value of a header that must be there, once.
pub fn header<'a>(head: &'a Head, name: &str) -> Result<&'a str, Fault> {
    head.header(name).ok_or_else(|| malformed(format!("header {name} is missing or given twice")))
}

/// `LinuxMonitoringAgent/<version>-<release>`
pub fn check_user_agent(head: &Head) -> Result<(), Fault> {
    let version = header(head, "user-agent")?.strip_prefix("LinuxMonitoringAgent/");
    if version.is_some_and(is_version) {
        Ok(())
    } else {
        Err(malformed("User-Agent is not LinuxMonitoringAgent/n.n.n-n"))
    }
}

/// `n.n.n-n`
pub fn is_version(text: &str) -> bool {
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        Some((version, release)) => {
            number(release) && version.split('.').count() == 3 && version.split('.').all(number)
        }
        None => false,
    }
}

/// `8-4-4-4-12` hexadecimal digits, either case.
pub fn is_guid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let fits =
        |(at, byte): (usize, &u8)| if [8, 13, 18, 23].contains(&at) { *byte == b'-' } else { byte.is_ascii_hexdigit() };
    bytes.len() == 36 && bytes.iter().enumerate().all(fits)
}

fn check_date(date: &str, now_s: i64) -> Result<(), Fault> {
    let sent_s =
        clock::parse_offset_time(date).ok_or(malformed("x-ms-Date is not YYYY-MM-DDTHH:MM:SS.nnnnnnnnn+hh:mm"))?;
    let skew_s = sent_s - now_s;
    if skew_s.abs() > SKEW_S_MAX {
        return Err(forbidden(format!("the request is {skew_s} s away from the time of the service")));
    }
    Ok(())
}

fn check_signature(head: &Head, body: &[u8], key: &[u8], signature: &str) -> Result<(), Fault> {
    let content_hash = header(head, "x-ms-sha256_content")?;
    if content_hash != BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body)) {
        return Err(malformed("x-ms-SHA256_Content is not the hash of the body"));
    }
    let signed = format!("{}\n{content_hash}\n", header(head, "x-ms-date")?);
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| forbidden("the signature is not base64"))?;
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes(), &signature)
        .map_err(|_| forbidden("the signature does not match the shared key of the workspace"))
}

/// Tags nest, attributes are quoted, the declaration, the root and its three name spaces are as they must be.
fn check_xml(body: &str, root: &str) -> Result<(), Fault> {
    let rest = body
        .strip_prefix("<?xml version=\"1.0\"?>\n")
        .ok_or(malformed("no XML declaration, or no line feed after it"))?;
    let mut open: Vec<&str> = Vec::new();
    let mut rest = rest;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').ok_or(malformed("a tag does not end"))?;
        let tag = &rest[start + 1..end];
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(malformed(format!("</{name}> closes nothing")));
            }
        } else if !tag.ends_with('/') {
            let name = tag.split(' ').next().unwrap_or("");
            if open.is_empty() && name != root {
                return Err(malformed(format!("the root is <{name}>")));
            }
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    if !open.is_empty() || !rest.is_empty() {
        return Err(malformed("the document is not closed, or does not end at its root"));
    }
    for space in [
        "xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"",
        "xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\"",
        "xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\"",
    ] {
        if !body.contains(space) {
            return Err(malformed(format!("the root lacks {space}")));
        }
    }
    Ok(())
}

fn element<'a>(body: &'a str, name: &str) -> Result<&'a str, Fault> {
    let inner = body.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
    inner.map(|(text, _)| text).ok_or_else(|| malformed(format!("no <{name}>")))
}

fn decode_certificate(text: &str) -> Result<Vec<u8>, Fault> {
    let packed: String = text.split_ascii_whitespace().collect();
    BASE64_STANDARD.decode(packed).map_err(|_| malformed("AuthenticationCertificate is not base64"))
}

fn check_certificate(agent: &Agent, presented: Option<&[u8]>) -> Result<(), Fault> {
    let presented = presented.ok_or(forbidden("no client certificate in TLS"))?;
    if presented != agent.certificate {
        return Err(forbidden("the certificate in TLS is not the one in the body"));
    }
    check_subject(agent)
}

fn check_subject(agent: &Agent) -> Result<(), Fault> {
    let der = agent.certificate.as_slice().into();
    webpki::EndEntityCert::try_from(&der).map_err(|error| malformed(format!("the certificate: {error:?}")))?;
    for part in [agent.workspace_id.as_str(), &agent.agent_guid, "Linux Monitoring Agent", "Microsoft"] {
        if memchr::memmem::find(&agent.certificate, part.as_bytes()).is_none() {
            return Err(forbidden(format!("the certificate's subject lacks {part}")));
        }
    }
    Ok(())
}

fn check_operating_system(body: &str) -> Result<(), Fault> {
    let inside = element(body, "OperatingSystem")?;
    for name in ["InContainer", "Name", "Version", "Manufacturer", "ProcessorArchitecture"] {
        if element(inside, name)?.trim().is_empty() {
            return Err(forbidden(format!("<{name}> is empty")));
        }
    }
    if inside.contains("<Telemetry") { Ok(()) } else { Err(malformed("no <Telemetry>")) }
}

/// What an agent is told that passed every check; `origin` is the URL of this service.
pub fn answer(agent: &Agent, origin: &str, told: &Told) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><LinuxAgentTopologyResponse queryInterval=\"{}\" \
         telemetryReportInterval=\"PT10M\" id=\"6f2c7d0e-0c7b-4a53-9d55-2f6d5c1f8a10\" \
         xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\" \
         xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">\
         <CertificateUpdateEndpoint updateCertificate=\"{}\">{origin}{}\
         </CertificateUpdateEndpoint><DscConfiguration><Endpoint>https://{}/Accounts/{}/Nodes(AgentId='{}')\
         </Endpoint><NodeConfigurationName>MicrosoftOperationsManagementLinuxConfiguration.common</NodeConfigurationName>\
         </DscConfiguration></LinuxAgentTopologyResponse>",
        told.query_interval,
        told.update_certificate,
        told.renewal_path,
        told.dsc_host,
        agent.workspace_id,
        agent.agent_guid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    // Both vectors: constructed and upstream example of the signature, as recorded from the original.
    #[track_caller]
    fn check_vector(key: &str, date: &str, body: &[u8], expected: &str) {
        let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, body));
        let headers = vec![("x-ms-date".to_owned(), date.to_owned()), ("x-ms-sha256_content".to_owned(), hash)];
        let head = Head { method: "POST".into(), path: PATH.into(), version: "HTTP/1.1".into(), headers };
        let key = BASE64_STANDARD.decode(key).expect("a key");
        assert_eq!(check_signature(&head, body, &key, expected), Ok(()));
        assert!(check_signature(&head, body, b"another key", expected).is_err());
        assert!(check_signature(&head, b"another body", &key, expected).is_err());
    }

    #[test]
    fn the_signature_is_the_one_of_the_recorded_vector() {
        check_vector(
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==",
            "2024-01-02T03:04:05.678901234+00:00",
            b"<?xml version=\"1.0\"?>\n<AgentTopologyRequest/>",
            "Vr+m1HWHkeu+l3Jo4LmPJ1IRD2v1pF1afuRqFUHeuKg=",
        );
    }

    #[test]
    fn a_clock_six_minutes_off_is_refused() {
        let date = "2015-11-05T00:12:33.000000000+00:00";
        assert_eq!(check_date(date, 1_446_682_353 + 299), Ok(()));
        assert_eq!(check_date(date, 1_446_682_353 + 360).map_err(|fault| fault.status), Err(403));
        assert_eq!(check_date(date, 1_446_682_353 - 360).map_err(|fault| fault.status), Err(403));
    }

    fn check_xml_of_topology(body: &str) -> Result<(), Fault> {
        check_xml(body, "AgentTopologyRequest")
    }

    #[test]
    fn tags_that_do_not_nest_are_refused() {
        let root = "<?xml version=\"1.0\"?>\n<AgentTopologyRequest xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                    xmlns:xsd=\"http://www.w3.org/2001/XMLSchema\" \
                    xmlns=\"http://schemas.microsoft.com/WorkloadMonitoring/HealthServiceProtocol/2014/09/\">";
        assert_eq!(check_xml_of_topology(&format!("{root}<A><B x=\"1\"/></A></AgentTopologyRequest>")), Ok(()));
        assert!(check_xml_of_topology(&format!("{root}<A><B></A></B></AgentTopologyRequest>")).is_err());
        assert!(check_xml_of_topology(&format!("{root}<A>")).is_err());
    }

    #[test]
    fn versions_and_guids_are_told_from_lookalikes() {
        assert!(is_version("0.1.0-0") && is_version("1.19.0-12"));
        assert!(!is_version("1.19.0") && !is_version("1.19-0") && !is_version("1.19.x-0") && !is_version(""));
        assert!(is_guid("1b4e28ba-2fa1-4d2e-883f-0016d3cca427") && !is_guid("1b4e28ba-2fa1-4d2e-883f-0016d3cca42"));
    }
}
