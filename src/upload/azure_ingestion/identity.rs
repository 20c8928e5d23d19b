//! Who we are to Azure, and how each kind of identity asks for its token.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::metadata;
use super::token::{Given, parse, refusal};
use crate::config::{AzureIngestion, Identity, Nearby};
use crate::crypto::{sha256, sign_ps256};
use crate::limits::{CHALLENGE_BYTES_MAX, IDENTITY_BYTES_MAX};
use crate::sys::{self, clock};
use crate::upload::https::Client;
use crate::upload::oms::{USER_AGENT, request_id, rooted};
use crate::upload::text::Text;
use crate::upload::{Outcome, Verdict};

/// Where Azure Arc leaves its challenges; no other directory is read, whatever an answer says.
pub const CHALLENGES: &str = "/var/opt/azcmagent/tokens";
/// For how long a signed assertion is good: the service wants 5 to 10 minutes.
const ASSERTION_S: i64 = 10 * 60;

/// Puts `root` in front of an identity's paths.
pub fn root(root: &Path, identity: &mut Identity) {
    let below = |path: &mut String| *path = rooted(root, path).to_string_lossy().into_owned();
    match identity {
        Identity::Secret { secret, .. } => below(secret),
        Identity::Certificate { certificate, key, .. } => {
            below(certificate);
            below(key);
        }
        Identity::Managed { .. } => {}
        Identity::Arc { challenges, .. } => {
            CHALLENGES.clone_into(challenges);
            below(challenges);
        }
    }
}

/// What tells one identity's tokens from another's: all that a token depends on but the secret itself.
pub fn fingerprint(settings: &AzureIngestion) -> String {
    let audience = settings.cloud.audience();
    match &settings.identity {
        Identity::Secret { app, .. } => {
            format!("secret {} {} {} {audience}", settings.authority, app.tenant, app.client)
        }
        Identity::Certificate { app, .. } => {
            format!("certificate {} {} {} {audience}", settings.authority, app.tenant, app.client)
        }
        Identity::Managed { client, endpoint } => format!("managed {endpoint} {client} {audience}"),
        Identity::Arc { endpoint, .. } => format!("arc {endpoint} {audience}"),
    }
}

/// Asks for a token. The error is the outcome of a request that has none: "later", whatever it is.
pub fn ask(settings: &AzureIngestion, client: &Client) -> Result<Given, Outcome> {
    let audience = settings.cloud.audience();
    match &settings.identity {
        Identity::Secret { app, secret } => {
            let mut secret = read_private(secret, IDENTITY_BYTES_MAX).map_err(later)?;
            let mut form = form(&app.client, audience);
            form.push_str("&client_secret=");
            percent_encode(secret.trim_ascii_end(), &mut form);
            sys::wipe(&mut secret);
            let advice = "check tenant_id, client_id and the secret, which may have expired";
            post(client, &settings.authority, &app.tenant, form, advice)
        }
        Identity::Certificate { app, certificate, key } => {
            let assertion = assertion(settings, certificate, key).map_err(later)?;
            let mut form = form(&app.client, audience);
            form.push_str("&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer");
            form.push_str("&client_assertion=");
            form.push_str(&assertion);
            let advice =
                "check tenant_id and client_id, that the certificate is the application's, and this host's clock";
            post(client, &settings.authority, &app.tenant, form, advice)
        }
        Identity::Managed { client, endpoint } => managed(endpoint, client, audience),
        Identity::Arc { endpoint, challenges } => arc(endpoint, challenges, audience),
    }
}

fn later(reason: String) -> Outcome {
    Outcome::new(Verdict::Later, reason)
}

fn token_url(authority: &str, tenant: &str) -> String {
    format!("{authority}/{tenant}/oauth2/v2.0/token")
}

/// The fields that both kinds of proof have in common. There is room for a secret, so that it is not copied while the text grows.
fn form(client: &str, audience: &str) -> String {
    let mut form = String::with_capacity(16 * 1024);
    form.push_str("grant_type=client_credentials&client_id=");
    percent_encode(client.as_bytes(), &mut form);
    form.push_str("&scope=");
    percent_encode(audience.as_bytes(), &mut form);
    form.push_str("%2F.default");
    form
}

/// Posts the form, which is wiped, to the tenant's token endpoint. Source: RFC 6749 section 4.4.
fn post(client: &Client, authority: &str, tenant: &str, mut form: String, advice: &str) -> Result<Given, Outcome> {
    let id = request_id();
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("Accept", "application/json"),
        ("client-request-id", id.as_str()),
        ("User-Agent", USER_AGENT),
    ];
    let answer =
        client.post_within(&token_url(authority, tenant), &headers, form.as_bytes(), crate::limits::TOKEN_MS_MAX);
    sys::wipe_string(&mut form);
    let mut answer = answer.map_err(|error| later(format!("no token: {authority}: {error}")))?;
    let now_unix_s = clock::wall_s();
    let given = parse(&answer.body, now_unix_s).filter(|_| answer.status == 200);
    let refused = refusal(answer.status, &answer.body, authority, if answer.status < 300 { NO_TOKEN } else { advice });
    sys::wipe(&mut answer.body);
    given.ok_or(Outcome {
        retry_after_s: answer.retry_after_s,
        clock_skew_s: answer.date_unix_s.and_then(|date| i32::try_from(date.saturating_sub(now_unix_s)).ok()),
        ..refused
    })
}

const NO_TOKEN: &str = "there is no token in its answer: is it what it should be, or a page of a proxy?";

/// `key=value` of a form: everything but the unreserved characters as `%XX`. Source: RFC 3986 section 2.
pub fn percent_encode(bytes: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// A file that nobody but its owner may read or write.
pub fn read_private(path: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| format!("{path} cannot be read: {error}"))?;
    let found = file.metadata().map_err(|error| format!("{path}: {error}"))?;
    if !found.is_file() || found.mode() & 0o077 != 0 {
        return Err(format!("{path} is readable by others (mode {:o}): chmod 600 it", found.mode() & 0o7777));
    }
    read_bounded(file, bytes_max).map_err(|reason| format!("{path}: {reason}"))
}

fn read_bounded(file: File, bytes_max: u64) -> Result<Vec<u8>, String> {
    // All at once: what grows is copied, and the copies are not wiped.
    let mut bytes = Vec::with_capacity(usize::try_from(bytes_max).unwrap_or(0) + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() as u64 {
        0 => Err("it is empty".to_owned()),
        length if length > bytes_max => Err(format!("it is larger than {bytes_max} bytes")),
        _ => Ok(bytes),
    }
}

/// The signed assertion that proves possession of the certificate's key. Source: "Microsoft identity platform application
/// authentication certificate credentials": PS256, and the certificate's SHA-256.
fn assertion(settings: &AzureIngestion, certificate: &str, key: &str) -> Result<String, String> {
    let Identity::Certificate { app, .. } = &settings.identity else { return Err(String::new()) };
    let pem = File::open(certificate)
        .map_err(|error| error.to_string())
        .and_then(|file| read_bounded(file, IDENTITY_BYTES_MAX));
    let pem = pem.map_err(|error| format!("{certificate} cannot be read: {error}"))?;
    let der = CertificateDer::from_pem_slice(&pem).map_err(|_| format!("{certificate} holds no PEM certificate"))?;
    let mut text = Text::default();
    text.put(br#"{"alg":"PS256","typ":"JWT","x5t#S256":""#);
    text.put_slice(URL_SAFE_NO_PAD.encode(sha256(&[&der])).as_bytes());
    text.put(b"\"}");
    let mut signed = URL_SAFE_NO_PAD.encode(text.as_bytes());
    signed.push('.');
    URL_SAFE_NO_PAD.encode_string(claims(settings, &app.tenant, &app.client, clock::wall_s()).as_bytes(), &mut signed);
    let mut key_pem = read_private(key, IDENTITY_BYTES_MAX)?;
    let signature = sign_ps256(&key_pem, signed.as_bytes());
    sys::wipe(&mut key_pem);
    let signature = signature.map_err(|error| format!("{key}: {error}"))?;
    signed.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut signed);
    Ok(signed)
}

fn claims(settings: &AzureIngestion, tenant: &str, client: &str, now_unix_s: i64) -> Text {
    let url = token_url(&settings.authority, tenant);
    let mut text = Text::default();
    text.put_slice(b"{");
    for (key, value) in [("aud", url.as_str()), ("iss", client), ("sub", client), ("jti", &request_id())] {
        text.put_slice(format!("\"{key}\":\"").as_bytes());
        text.put_escaped(value.as_bytes());
        text.put(b"\",");
    }
    let end = now_unix_s + ASSERTION_S;
    text.put_slice(format!("\"nbf\":{now_unix_s},\"iat\":{now_unix_s},\"exp\":{end}}}").as_bytes());
    text
}

/// Asks the metadata service of an Azure VM. Source: "How to use managed identities for Azure resources on an Azure VM to acquire an
/// access token".
fn managed(endpoint: &Nearby, client: &str, audience: &str) -> Result<Given, Outcome> {
    let mut query = String::from("api-version=2018-02-01&resource=");
    percent_encode(audience.as_bytes(), &mut query);
    if !client.is_empty() {
        query.push_str("&client_id=");
        percent_encode(client.as_bytes(), &mut query);
    }
    let answer = metadata::get(endpoint, &query, None).map_err(|error| later(no_metadata(endpoint, &error)))?;
    given(endpoint, answer, "does this machine have a managed identity, and is client_id one of those assigned to it?")
}

/// Asks the agent of Azure Arc: it answers with a file that only those with a right to read may have read.
/// Source: "Authenticate against Azure resources with Azure Arc-enabled servers".
fn arc(endpoint: &Nearby, challenges: &str, audience: &str) -> Result<Given, Outcome> {
    let mut query = String::from("api-version=2020-06-01&resource=");
    percent_encode(audience.as_bytes(), &mut query);
    let get = |proof: Option<&str>| {
        metadata::get(endpoint, &query, proof).map_err(|error| later(no_metadata(endpoint, &error)))
    };
    let asked = get(None)?;
    let Some(challenge) = asked.challenge.filter(|_| asked.status == 401) else {
        let reason =
            format!("no token: {endpoint} answers {} without a challenge: is it the agent of Azure Arc?", asked.status);
        return Err(Outcome { status: asked.status, ..later(reason) });
    };
    let mut proof = read_challenge(&challenge, challenges).map_err(later)?;
    let answer = get(Some(&proof));
    sys::wipe_string(&mut proof);
    given(endpoint, answer?, "is this machine connected to Azure Arc?")
}

fn no_metadata(endpoint: &Nearby, error: &str) -> String {
    format!("no token: {endpoint} does not answer ({error}): is this a machine with that kind of identity?")
}

fn given(endpoint: &Nearby, mut answer: metadata::Answer, advice: &str) -> Result<Given, Outcome> {
    let given = parse(&answer.body, clock::wall_s()).filter(|_| answer.status == 200);
    let refused = refusal(
        answer.status,
        &answer.body,
        &endpoint.to_string(),
        if answer.status < 300 { NO_TOKEN } else { advice },
    );
    sys::wipe(&mut answer.body);
    given.ok_or(refused)
}

/// The text of the file that a challenge (`Basic realm=PATH`) names: of the path only the name counts, which ends in `.key`, and the
/// file belongs to root or to whom its directory belongs.
fn read_challenge(challenge: &str, directory: &str) -> Result<String, String> {
    let realm = challenge.strip_prefix("Basic realm=").map(|realm| realm.trim_matches('"')).unwrap_or_default();
    let name = realm.rsplit('/').next().unwrap_or_default();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !name.ends_with(".key") || name.starts_with('.') || !name.bytes().all(fine) {
        return Err("no token: the challenge of Azure Arc names no key file".to_owned());
    }
    let path = format!("{directory}/{name}");
    let trouble = |what: &dyn core::fmt::Display| {
        format!("no token: {path}: {what}; omsd must be root or in the group himds to read it")
    };
    let file = sys::file::open_to_look(Path::new(&path)).map_err(|error| trouble(&error))?;
    let found = file.metadata().map_err(|error| trouble(&error))?;
    let owner = std::fs::metadata(directory).map_err(|error| trouble(&error))?.uid();
    if !found.is_file() || (found.uid() != 0 && found.uid() != owner) {
        return Err(trouble(&"it is not Azure Arc's"));
    }
    let text = read_bounded(file, CHALLENGE_BYTES_MAX).map_err(|reason| trouble(&reason))?;
    let text = String::from_utf8(text).map(|text| text.trim().to_string()).unwrap_or_default();
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(trouble(&"it holds no proof"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::members::{member, plain};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    #[test]
    fn everything_but_the_unreserved_is_percent_encoded() {
        let mut out = String::new();
        percent_encode("aZ9-._~ +/=&%ü".as_bytes(), &mut out);
        assert_eq!(out, "aZ9-._~%20%2B%2F%3D%26%25%C3%BC");
        assert!(form("id", "https://monitor.azure.com").ends_with("&scope=https%3A%2F%2Fmonitor.azure.com%2F.default"));
    }

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("omsd-identity-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn write(path: &Path, text: &[u8], mode: u32) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_secret_that_others_can_read_is_not_used() {
        let directory = directory("secret");
        let path = directory.join("secret");
        let read = || read_private(path.to_str().unwrap(), 100);
        assert!(read().unwrap_err().contains("cannot be read"));
        for mode in [0o640, 0o604, 0o660, 0o601] {
            write(&path, b"secret\n", mode);
            assert!(read().unwrap_err().contains("chmod 600"), "{mode:o}");
        }
        write(&path, b"secret\n", 0o600);
        assert_eq!(read(), Ok(b"secret\n".to_vec()));
        write(&path, &[b'x'; 101], 0o400);
        assert!(read().unwrap_err().contains("larger than 100 bytes"));
        write(&path, b"", 0o600);
        assert!(read().unwrap_err().contains("empty"));
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn only_key_files_of_the_one_directory_answer_a_challenge() {
        let directory = directory("challenge");
        write(&directory.join("a-1.key"), b"proof\n", 0o440);
        write(&directory.join("a.txt"), b"proof\n", 0o440);
        write(&directory.join("large.key"), &[b'x'; 5000], 0o440);
        write(&directory.join("odd.key"), b"a\nb", 0o440);
        std::os::unix::fs::symlink("/etc/passwd", directory.join("link.key")).unwrap();
        let read = |challenge: &str| read_challenge(challenge, directory.to_str().unwrap());
        let known = format!("Basic realm={}/a-1.key", directory.display());
        assert_eq!(read(&known).as_deref(), Ok("proof"));
        assert_eq!(read("Basic realm=/etc/../elsewhere/a-1.key").as_deref(), Ok("proof"), "only the name counts");
        for challenge in [
            "",
            "Bearer x",
            "Basic realm=",
            "Basic realm=/var/opt/azcmagent/tokens/a.txt",
            "Basic realm=/etc/passwd",
            "Basic realm=.key",
            "Basic realm=x/..key",
            "Basic realm=missing.key",
            "Basic realm=large.key",
            "Basic realm=odd.key",
            "Basic realm=link.key",
        ] {
            assert!(read(challenge).is_err(), "{challenge}");
        }
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_assertion_is_signed_by_the_certificates_key_and_names_it() {
        let directory = directory("assertion");
        let made = &*crate::upload::https::tests::CLIENT_CERTIFICATE;
        let (certificate, key) = (directory.join("crt"), directory.join("key"));
        write(&certificate, made.certificate_pem.as_bytes(), 0o644);
        write(&key, made.key_pem.as_bytes(), 0o600);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let app = crate::config::App { tenant: "t".into(), client: "c".into() };
        let identity = Identity::Certificate { app, certificate: path(&certificate), key: path(&key) };
        let settings = AzureIngestion { identity, authority: "https://a".into(), ..AzureIngestion::default() };
        let assertion = |settings| super::assertion(settings, &path(&certificate), &path(&key));
        let made_now = assertion(&settings).unwrap();
        let parts: Vec<&str> = made_now.split('.').collect();
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
        let of = |text: &[u8], name| member(text, name).and_then(plain).unwrap();
        assert_eq!((of(&header, "alg"), of(&header, "typ")), ("PS256".into(), "JWT".into()));
        let der = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
        assert_eq!(of(&header, "x5t#S256"), URL_SAFE_NO_PAD.encode(sha256(&[&der])));
        assert_eq!(of(&claims, "aud"), "https://a/t/oauth2/v2.0/token");
        assert_eq!((of(&claims, "iss"), of(&claims, "sub")), ("c".into(), "c".into()));
        let number = |name| of(&claims, name).parse::<i64>().unwrap();
        assert_eq!(number("exp") - number("nbf"), 600);
        assert_eq!(decoded(parts[2]).len(), 256, "a signature of a key of 2048 bits");
        write(&key, made.key_pem.as_bytes(), 0o640);
        assert!(assertion(&settings).unwrap_err().contains("chmod 600"));
        write(&key, b"no key", 0o600);
        assert!(assertion(&settings).unwrap_err().contains("no RSA private key"));
        fs::remove_dir_all(directory).unwrap();
    }
}
