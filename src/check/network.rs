//! `net.dns` to `net.auth`: the way of an upload, by the code of the upload child, to the first stage that does not work.

use super::{Finding, Scene, Tell};
use crate::agent::status::span;
use crate::config::Destination;
use crate::upload::azure_ingestion::Ingestion;
use crate::upload::data_collector::Collector;
use crate::upload::fips::Standing;
use crate::upload::https::{HttpsError, Notes};
use crate::upload::oms::{self, clock_is_set, read_proxy};
use crate::upload::probe::Probe;
use crate::upload::proxy::Proxy;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// The stages, in their order.
pub(super) const IDS: [&str; 6] = [DNS, TCP, PROXY, TLS, CLOCK, AUTH];
const DNS: &str = "net.dns";
const TCP: &str = "net.tcp";
const PROXY: &str = "net.proxy";
const TLS: &str = "net.tls";
const CLOCK: &str = "net.clock";
const AUTH: &str = "net.auth";

/// Difference of clocks from which on it is worth a warning, and from which on requests are refused.
const SKEW_S_WARN: u64 = 5 * 60;
const SKEW_S_FAIL: u64 = 15 * 60;

const SET_CLOCK: &str = "set the clock, and have a time service keep it (chrony, ntpd, systemd-timesyncd)";

pub(super) fn look(scene: &Scene, tell: Tell) {
    scene.configured(&IDS, tell, |config, tell| {
        // A build that may not upload here may not ask either.
        if Standing::ask().permit(config.allow_non_fips).is_err() {
            return skip_all("needs sys.fips").into_iter().for_each(tell);
        }
        let several = config.targets.len() > 1;
        for target in &config.targets {
            let label = if several { format!("{}: ", target.name) } else { String::new() };
            for finding in walk(scene, &target.destination) {
                tell(Finding { text: format!("{label}{}", finding.text), ..finding });
            }
        }
    });
}

fn walk(scene: &Scene, destination: &Destination) -> Vec<Finding> {
    let now_unix_s = scene.now_unix_s();
    let Some(proxy_conf) = destination.proxy_conf() else {
        return skip_all("out_stdout sends nothing over the network");
    };
    if !clock_is_set(now_unix_s) {
        return only(Finding::fail(CLOCK, "this host's clock is not set", SET_CLOCK));
    }
    let path = scene.paths.place(proxy_conf).to_string_lossy().into_owned();
    let proxy = match read_proxy(&path) {
        Ok(proxy) => proxy,
        Err(reason) => return only(Finding::fail(PROXY, reason, format!("write it as omsd(8) says: {path}"))),
    };
    let probed = match destination {
        Destination::Oms(files) => oms::probe(&scene.root, files, now_unix_s),
        Destination::AzureIngestion(settings) => Ingestion::new(&scene.root, settings).probe(now_unix_s),
        Destination::DataCollector(settings) => Collector::new(&scene.root, settings).probe(now_unix_s),
        Destination::Stdout => return Vec::new(),
    };
    match probed {
        Ok(probe) => judge(&probe, proxy.as_ref(), now_unix_s),
        Err(reason) => only(split(AUTH, &reason, "mend that file; the checks id.* say more")),
    }
}

fn skip_all(reason: &str) -> Vec<Finding> {
    IDS.iter().map(|id| Finding::skip(id, reason)).collect()
}

/// A stage that failed before the way began.
fn only(finding: Finding) -> Vec<Finding> {
    let needs = format!("needs {}", finding.id);
    IDS.iter().map(|id| if finding.id == *id { finding.clone() } else { Finding::skip(id, needs.as_str()) }).collect()
}

/// A failure whose sentence says what to do behind its last colon; `otherwise`, if it does not.
fn split(id: &str, sentence: &str, otherwise: &str) -> Finding {
    match sentence.rsplit_once(": ") {
        Some((what, advice)) => Finding::fail(id, what, advice),
        None => Finding::fail(id, sentence, otherwise),
    }
}

fn judge(probe: &Probe, proxy: Option<&Proxy>, now_unix_s: i64) -> Vec<Finding> {
    let Probe { notes, answer, accepted } = probe;
    let broken = answer.as_ref().err().map(|error| (stage_of(error, notes), error));
    let mut findings: Vec<Finding> = Vec::new();
    for id in IDS {
        let finding = match &broken {
            Some((stage, error)) if *stage == id => failed(id, error, notes),
            Some((stage, _)) if findings.iter().any(|found| found.id == *stage) => {
                Finding::skip(id, format!("needs {stage}"))
            }
            _ => match id {
                DNS => Finding::pass(id, route(notes, proxy)),
                TCP => Finding::pass(id, connected(notes)),
                PROXY if proxy.is_none() => Finding::skip(id, "no proxy is set"),
                PROXY if !notes.tunnelled => Finding::skip(id, "this host is reached without the proxy"),
                PROXY => Finding::pass(id, "it leads to the service"),
                TLS => Finding::pass(id, format!("{}; issued by {}", notes.tls, notes.issuer)),
                CLOCK => clock(answer.as_ref().ok().and_then(|answer| answer.date_unix_s), now_unix_s),
                _ => continue,
            },
        };
        findings.push(finding);
    }
    if let Ok(answer) = answer {
        findings.push(match accepted {
            Ok(said) => Finding::pass(AUTH, said),
            // The service is busy or broken: that is not about this agent.
            Err(reason) if answer.status == 429 || answer.status >= 500 => {
                Finding::warn(AUTH, reason, "wait; omsd tries again by itself")
            }
            Err(reason) => split(AUTH, reason, "onboard again: omsd onboard"),
        });
    }
    findings
}

/// Where the way ended.
fn stage_of(error: &HttpsError, notes: &Notes) -> &'static str {
    let is_by_proxy = notes.hop.as_ref().is_some_and(|hop| hop.is_proxy);
    match error {
        HttpsError::NameNotFound { .. } => DNS,
        HttpsError::NotReached { .. } => TCP,
        HttpsError::ProxyRefused { .. }
        | HttpsError::ProxyLogin { .. }
        | HttpsError::NotSuchAProxy { .. }
        | HttpsError::ProxyTls { .. } => PROXY,
        HttpsError::Trust(_) | HttpsError::Tls(_) => TLS,
        HttpsError::BadRequest(_) | HttpsError::Identity(_) => AUTH,
        HttpsError::TimedOut(_) | HttpsError::ClosedEarly | HttpsError::Malformed(_) => match notes {
            Notes { found: false, .. } => DNS,
            Notes { address: None, .. } => TCP,
            Notes { tunnelled: false, .. } if is_by_proxy => PROXY,
            Notes { tls, .. } if tls.is_empty() => TLS,
            _ => AUTH,
        },
    }
}

fn failed(id: &str, error: &HttpsError, notes: &Notes) -> Finding {
    const OTHERWISE: &str = "find out what lies on the way: firewall, proxy, or the service itself";
    let finding = split(id, &error.to_string(), OTHERWISE);
    match notes.issuer.as_str() {
        "" => finding,
        issuer if id == TLS => Finding { text: format!("{}; issued by {issuer}", finding.text), ..finding },
        _ => finding,
    }
}

fn route(notes: &Notes, proxy: Option<&Proxy>) -> String {
    let name = notes.hop.as_ref().map_or("", |hop| hop.name.as_str());
    match proxy {
        Some(proxy) if notes.tunnelled => format!("by the proxy {proxy}"),
        _ => name.to_string(),
    }
}

fn connected(notes: &Notes) -> String {
    match notes.address {
        Some(address) => format!("{address} in {} ms", notes.connect_ms),
        None => "a connection stands".to_string(),
    }
}

fn clock(date_unix_s: Option<i64>, now_unix_s: i64) -> Finding {
    let Some(date) = date_unix_s else { return Finding::skip(CLOCK, "the answer has no Date") };
    let skew_s = date - now_unix_s;
    let text = match skew_s {
        0 => "this host's clock agrees with the service's".to_string(),
        1.. => format!("this host's clock is {} behind the service's", span(skew_s.unsigned_abs())),
        _ => format!("this host's clock is {} ahead of the service's", span(skew_s.unsigned_abs())),
    };
    match skew_s.unsigned_abs() {
        SKEW_S_FAIL.. => Finding::fail(CLOCK, text, SET_CLOCK),
        SKEW_S_WARN..SKEW_S_FAIL => Finding::warn(CLOCK, text, SET_CLOCK),
        _ => Finding::pass(CLOCK, text),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::upload::https::{Answer, Hop, TlsFault};

    const NOW: i64 = 1_800_000_000;

    fn hop(is_proxy: bool) -> Hop {
        Hop { name: "gw.example:3128".into(), is_proxy }
    }

    /// A way that was gone to its end.
    fn whole(is_proxy: bool) -> Notes {
        Notes {
            hop: Some(hop(is_proxy)),
            found: true,
            address: Some(([10, 0, 0, 9], 3128).into()),
            connect_ms: 3,
            tunnelled: is_proxy,
            tls: "TLS 1.3, TLS13_AES_256_GCM_SHA384".into(),
            issuer: "O=Example, CN=Inspection".into(),
        }
    }

    fn grades(findings: &[Finding]) -> String {
        let letter = |id: &&str| match findings.iter().find(|found| found.id == **id).map(|found| found.result) {
            Some(Grade::Pass) => 'P',
            Some(Grade::Warn) => 'W',
            Some(Grade::Fail) => 'F',
            Some(Grade::Skip) => 's',
            None => '-',
        };
        IDS.iter().map(letter).collect()
    }

    #[track_caller]
    fn check_error(error: HttpsError, notes: Notes, expected: &str, text: &str, fix: &str) {
        let proxy = Proxy::parse("http://user:s3cret@gw.example:3128").unwrap();
        let accepted = Err(error.to_string());
        let findings = judge(&Probe { notes, answer: Err(error), accepted }, proxy.as_ref(), NOW);
        assert_eq!(grades(&findings), expected, "{findings:?}");
        let failed = findings.iter().find(|found| found.result == Grade::Fail).unwrap();
        assert!(failed.text.contains(text) && failed.fix.contains(fix), "{failed:?}");
        assert!(!format!("{findings:?}").contains("s3cret"));
    }

    #[test]
    fn the_first_stage_that_fails_is_named_and_the_later_ones_need_it() {
        let at = |found, address: bool, tunnelled| Notes {
            found,
            address: whole(true).address.filter(|_| address),
            tunnelled,
            tls: String::new(),
            issuer: String::new(),
            ..whole(true)
        };
        let cause = || String::from("because");
        check_error(
            HttpsError::NameNotFound { hop: hop(true), cause: cause() },
            at(false, false, false),
            "Fsssss",
            "because",
            "DNS",
        );
        check_error(
            HttpsError::NotReached { hop: hop(true), cause: cause() },
            at(true, false, false),
            "PFssss",
            "not reached",
            "proxy setting",
        );
        check_error(
            HttpsError::ProxyRefused { hop: hop(true), status: 407 },
            at(true, true, false),
            "PPFsss",
            "(407)",
            "user:password@",
        );
        check_error(
            HttpsError::ProxyRefused { hop: hop(true), status: 403 },
            at(true, true, false),
            "PPFsss",
            "(403)",
            "allowed there",
        );
        check_error(HttpsError::TimedOut("a connection"), at(true, true, false), "PPFsss", "waited too long", "slow");
        check_error(HttpsError::ClosedEarly, at(true, true, true), "PPPFss", "closed", "network");
        check_error(
            HttpsError::Tls(TlsFault::UnknownIssuer),
            Notes { tls: String::new(), ..whole(true) },
            "PPPFss",
            "CN=Inspection",
            "ca_file",
        );
        check_error(HttpsError::TimedOut("an answer"), whole(true), "PPPPsF", "waited too long", "slow");
        check_error(HttpsError::Malformed("x".into()), whole(true), "PPPPsF", "not an answer", "x");
    }

    #[track_caller]
    fn check_answer(status: u16, skew_s: Option<i64>, accepted: Result<&str, &str>, expected: &str) {
        let date_unix_s = skew_s.map(|skew_s| NOW + skew_s);
        let answer = Ok(Answer { status, retry_after_s: None, date_unix_s, body: Vec::new() });
        let accepted = accepted.map(String::from).map_err(String::from);
        let findings = judge(&Probe { notes: whole(false), answer, accepted }, None, NOW);
        assert_eq!(grades(&findings), expected, "{findings:?}");
        assert!(findings.iter().all(|found| found.fix.is_empty() == matches!(found.result, Grade::Pass | Grade::Skip)));
    }

    #[test]
    fn an_answer_says_what_clock_and_service_think_of_us() {
        check_answer(200, Some(1), Ok("taken"), "PPsPPP");
        check_answer(200, Some(299), Ok("taken"), "PPsPPP");
        check_answer(200, Some(-300), Ok("taken"), "PPsPWP");
        check_answer(403, Some(900), Err("refused: set the clock"), "PPsPFF");
        check_answer(403, None, Err("refused: onboard again"), "PPsPsF");
        check_answer(503, Some(0), Err("busy"), "PPsPPW");
        check_answer(429, Some(0), Err("slow down"), "PPsPPW");
    }

    #[test]
    fn what_cannot_begin_is_one_failure() {
        let findings = only(Finding::fail(PROXY, "bad", "mend"));
        assert_eq!(grades(&findings), "ssFsss");
        assert_eq!(grades(&skip_all("nothing")), "ssssss");
        assert_eq!(split(AUTH, "no: way: onboard", "x"), Finding::fail(AUTH, "no: way", "onboard"));
        assert_eq!(split(AUTH, "no way", "onboard"), Finding::fail(AUTH, "no way", "onboard"));
    }
}
