//! The stand-in beside clients that nobody here wrote: Microsoft's libraries for Python get tokens from it and post rows to it (microsoft.py beside this
//! file). So its rules are not only what omsd happens to do. And what no client sends by itself: bodies at and above each bound.
//!
//! Needs a Python with the packages of requirements.txt beside this file: `tests/run standin` makes one, in target/tests/python, and `OMSD_PYTHON`
//! may name another. Needs openssl for a certificate.

use omsd_standin::{Route, Standin};
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn microsofts_clients_are_taken_and_refused_by_the_same_rules() {
    let standin = Standin::start(omsd_standin::Options::default()).expect("it starts");
    let dir = std::env::temp_dir().join(format!("omsd-microsoft-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let file = |name: &str| dir.join(name).to_string_lossy().into_owned();
    std::fs::write(file("ca"), standin.ca_pem()).expect("the authority");
    openssl(&[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-keyout",
        &file("key"),
        "-out",
        &file("crt"),
    ]);
    openssl(&["x509", "-in", &file("crt"), "-outform", "DER", "-out", &file("der")]);
    let read = |name: &str| std::fs::read(file(name)).expect("openssl wrote it");
    std::fs::write(file("pem"), [read("key"), read("crt")].concat()).expect("key and certificate");
    standin.azure(|azure| azure.certificate = read("der"));
    let metadata = standin.start_metadata().expect("it listens");
    let azure = standin.azure(|azure| azure.clone());

    let mut command = Command::new(python());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/microsoft.py"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command.envs([
        ("STANDIN_URL", standin.url().replace("127.0.0.1", "localhost")),
        ("STANDIN_CA", file("ca")),
        ("STANDIN_TENANT", azure.tenant.clone()),
        ("STANDIN_CLIENT", azure.client_id.clone()),
        ("STANDIN_SECRET", azure.secret.clone()),
        ("STANDIN_RULE", azure.rule_id.clone()),
        ("STANDIN_PEM", file("pem")),
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", format!("http://{metadata}")),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]);
    let output = command.output().expect("Python runs");
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let seen = standin.seen();
    let told = format!("{said}\n{errors}\n{:?}", seen.complaints);
    let expected = [
        "ok secret",
        "ok certificate",
        "ok managed identity",
        "ok many",
        "refused secret 401",
        "refused stream 404",
        "refused column 400",
        "refused type 400",
    ];
    let lines: Vec<&str> = said.lines().collect();
    // The token library keeps the status of a refusal to itself.
    let lines: Vec<&str> =
        lines.iter().map(|line| if *line == "refused secret None" { "refused secret 401" } else { line }).collect();
    assert!(output.status.success() && lines == expected, "{told}");
    assert_eq!(seen.rows.len(), 3003, "{told}");
    assert!(
        seen.requests_of(Route::Rows).filter(|request| request.taken).count() > 4,
        "the many went in several requests"
    );
    drop(seen);
    let _ = std::fs::remove_dir_all(dir);
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn python() -> PathBuf {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tests/python/bin/python3");
    let found = std::env::var_os("OMSD_PYTHON").map_or(made, PathBuf::from);
    assert!(found.exists(), "{} is missing: tests/run standin makes it", found.display());
    found
}
