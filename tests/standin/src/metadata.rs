//! The metadata service of an Azure VM and that of Azure Arc, by plain HTTP on the loopback address. Source: "How to use managed
//! identities for Azure resources on an Azure VM to acquire an access token", "Authenticate against Azure resources with Azure
//! Arc-enabled servers".

use crate::azure::{Azure, Refused, pairs, random_hex, refused, value};
use crate::http::Head;
use std::os::unix::fs::PermissionsExt;

/// The path of both.
pub const PATH: &str = "/metadata/identity/oauth2/token";

/// What is answered.
pub struct Said {
    /// HTTP status.
    pub status: u16,
    /// `WWW-Authenticate`
    pub challenge: Option<String>,
    /// JSON, or nothing.
    pub body: String,
}

/// Answers a request.
pub fn answer(azure: &mut Azure, head: &Head) -> Result<Said, Refused> {
    let bad = |reason: &str| Err(refused(400, "invalid_request", reason));
    let (path, query) = head.path.split_once('?').unwrap_or((&head.path, ""));
    if head.method != "GET" || path != PATH {
        return Err(refused(404, "not_found", format!("{} {path}", head.method)));
    }
    if head.header("metadata") != Some("true") {
        return bad("the header Metadata is not true");
    }
    if head.header("x-forwarded-for").is_some() {
        return bad("it came by a proxy");
    }
    let query = pairs(query);
    let resource = value(&query, "resource").to_owned();
    if resource.trim_end_matches('/') != azure.audience {
        return bad("another resource");
    }
    match value(&query, "api-version") {
        "2018-02-01" => match value(&query, "client_id") {
            id if id.is_empty() || id == azure.client_id => {}
            _ => return bad("Identity not found"),
        },
        "2020-06-01" => match head.header("authorization") {
            None => return challenge(azure),
            Some(proof) => check_proof(azure, proof)?,
        },
        _ => return bad("unknown api-version"),
    }
    Ok(Said { status: 200, challenge: None, body: azure.give(&resource, true) })
}

/// Leaves a file that only those who may read it can answer with.
fn challenge(azure: &mut Azure) -> Result<Said, Refused> {
    let (name, proof) = (format!("{}.key", random_hex()), random_hex());
    let path = azure.challenges.join(&name);
    std::fs::write(&path, &proof).expect("the challenge is written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o440)).expect("its mode is set");
    azure.challenge = Some((name.clone(), proof));
    let realm = format!("Basic realm=/var/opt/azcmagent/tokens/{name}");
    Ok(Said { status: 401, challenge: Some(realm), body: String::new() })
}

/// A challenge is good once.
fn check_proof(azure: &mut Azure, proof: &str) -> Result<(), Refused> {
    let Some((name, expected)) = azure.challenge.take() else {
        return Err(refused(401, "unauthorized", "no challenge is open"));
    };
    let _ = std::fs::remove_file(azure.challenges.join(name));
    if proof == format!("Basic {expected}") { Ok(()) } else { Err(refused(401, "unauthorized", "the proof is wrong")) }
}
