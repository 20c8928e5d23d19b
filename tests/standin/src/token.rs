//! The token endpoint: client credentials by a secret or by a signed assertion. Source: "The OAuth 2.0 client credentials flow" and
//! "Application authentication certificate credentials" of the Microsoft identity platform.

use crate::azure::{Azure, Refused, pairs, refused, value};
use crate::http::Head;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use ring::digest;
use rustls::pki_types::CertificateDer;
use serde_json::Value;

/// An assertion is good for at most so long.
const ASSERTION_S_MAX: i64 = 11 * 60;
/// How far the client's clock may be off.
const SKEW_S_MAX: i64 = 300;

/// Whether a path is that of a tenant's token endpoint.
pub fn is_path(path: &str) -> bool {
    path.ends_with("/oauth2/v2.0/token")
}

/// Where the endpoints of a tenant are described, and how: libraries ask before they ask for a token. Source: OpenID Connect Discovery 1.0.
pub fn discovery(path: &str, origin: &str) -> Option<String> {
    let tenant = path.strip_suffix("/v2.0/.well-known/openid-configuration")?;
    Some(format!(
        r#"{{"issuer":"{origin}{tenant}/v2.0","authorization_endpoint":"{origin}{tenant}/oauth2/v2.0/authorize","token_endpoint":"{origin}{tenant}/oauth2/v2.0/token"}}"#
    ))
}

/// Checks a request and gives a token: the answer's JSON. `origin`: how the endpoint is addressed.
pub fn give(azure: &mut Azure, head: &Head, body: &[u8], origin: &str, now_s: i64) -> Result<String, Refused> {
    if head.path != format!("/{}/oauth2/v2.0/token", azure.tenant) {
        return Err(refused(400, "AADSTS90002", "another tenant"));
    }
    if !head.header("content-type").unwrap_or("").starts_with("application/x-www-form-urlencoded") {
        return Err(refused(400, "AADSTS900144", "the body is no form"));
    }
    let form = pairs(&String::from_utf8_lossy(body));
    if value(&form, "grant_type") != "client_credentials" {
        return Err(refused(400, "AADSTS70003", "grant_type is not client_credentials"));
    }
    if value(&form, "client_id") != azure.client_id {
        return Err(refused(400, "AADSTS700016", "unknown client_id"));
    }
    let Some(audience) = value(&form, "scope").split(' ').find_map(|scope| scope.strip_suffix("/.default")) else {
        return Err(refused(400, "AADSTS70011", "the scope does not end in /.default"));
    };
    let audience = audience.to_owned();
    match value(&form, "client_assertion") {
        "" if value(&form, "client_secret") == azure.secret => {}
        "" => return Err(refused(401, "AADSTS7000215", "the secret is wrong")),
        assertion => {
            if value(&form, "client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
                return Err(refused(400, "AADSTS50027", "client_assertion_type is not jwt-bearer"));
            }
            let url = format!("{origin}{}", head.path);
            check_assertion(azure, assertion, &url, now_s).map_err(|reason| refused(401, "AADSTS700027", reason))?;
        }
    }
    Ok(azure.give(&audience, false))
}

fn check_assertion(azure: &mut Azure, assertion: &str, url: &str, now_s: i64) -> Result<(), String> {
    let parts: Vec<&str> = assertion.split('.').collect();
    let [header, claims, signature] = parts[..] else { return Err("no JWT".into()) };
    let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|error| error.to_string());
    let json =
        |part: &str| -> Result<Value, String> { serde_json::from_slice(&decoded(part)?).map_err(|it| it.to_string()) };
    let (header_json, claims_json) = (json(header)?, json(claims)?);
    let names = |name: &str, digest: &'static digest::Algorithm| {
        let thumbprint = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(digest, &azure.certificate));
        header_json[name].as_str().is_some_and(|named| named.trim_end_matches('=') == thumbprint)
    };
    // RS256 with SHA-1 is the older form, which libraries still send.
    let algorithm = match header_json["alg"].as_str() {
        Some("PS256") if names("x5t#S256", &digest::SHA256) => webpki::ring::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
        Some("RS256") if names("x5t", &digest::SHA1_FOR_LEGACY_USE_ONLY) => webpki::ring::RSA_PKCS1_2048_8192_SHA256,
        _ => return Err(format!("the header names no known certificate: {header_json}")),
    };
    if header_json["typ"] != "JWT" {
        return Err("typ is not JWT".into());
    }
    if claims_json["aud"] != url {
        return Err(format!("aud is {} and not {url}", claims_json["aud"]));
    }
    if claims_json["iss"] != azure.client_id.as_str() || claims_json["sub"] != azure.client_id.as_str() {
        return Err("iss or sub is not the client".into());
    }
    let time = |name: &str| claims_json[name].as_f64().map(|it| it as i64).ok_or(format!("{name} is no number"));
    let (from, until) = (time("nbf").or(time("iat"))?, time("exp")?);
    if from > now_s + SKEW_S_MAX || until <= now_s - SKEW_S_MAX || until - from > ASSERTION_S_MAX {
        return Err(format!("good from {from} until {until}, and now is {now_s}"));
    }
    let id = claims_json["jti"].as_str().unwrap_or("");
    if id.is_empty() || !azure.used_ids.insert(id.to_owned()) {
        return Err("jti is missing or was used before".into());
    }
    let der = CertificateDer::from(azure.certificate.as_slice());
    let certificate = webpki::EndEntityCert::try_from(&der).map_err(|error| error.to_string())?;
    let signed = &assertion.as_bytes()[..header.len() + 1 + claims.len()];
    certificate.verify_signature(algorithm, signed, &decoded(signature)?).map_err(|error| error.to_string())
}

/// The answer's JSON for a request that is refused.
pub fn error_json(fault: &Refused) -> String {
    let error = if fault.status == 401 { "invalid_client" } else { "invalid_request" };
    format!(
        r#"{{"error":"{error}","error_description":"{}: {}. Trace ID: x","error_codes":[{}],"trace_id":"x","correlation_id":"y"}}"#,
        fault.code,
        fault.reason.replace(['"', '\\'], "'"),
        fault.code.trim_start_matches("AADSTS")
    )
}
