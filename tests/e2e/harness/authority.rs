//! Certificates of every kind, good and bad, made with the openssl command line.

use super::temp_dir;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a certificate is to be like. Times are `YYYYMMDDHHMMSSZ`.
#[derive(Debug, Clone, Copy)]
pub struct Kind<'a> {
    /// Arguments of `openssl genpkey`.
    pub key: &'a str,
    /// Hash of the signature on it.
    pub hash: &'a str,
    /// First moment.
    pub start: &'a str,
    /// Last moment.
    pub end: &'a str,
    /// Its extensions, as openssl's configuration has them.
    pub extensions: &'a str,
}

/// A P-256 key.
pub const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
/// What an authority's extensions are.
pub const AUTHORITY: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign";
/// A server named localhost, signed with SHA-256, now and for long.
pub const SERVER: Kind<'static> = Kind {
    key: P256,
    hash: "sha256",
    start: "20200101000000Z",
    end: "20491231235959Z",
    extensions: "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth",
};

/// A directory of certificates and keys, by name.
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// An empty one.
    pub fn new() -> Self {
        let dir = temp_dir();
        let ours = "[ca]\ndefault_ca=d\n[d]\nnew_certs_dir=.\ndatabase=index\nrand_serial=yes\nunique_subject=no\npolicy=p\n[p]\ncommonName=supplied\n[req]\ndistinguished_name=p\n";
        std::fs::write(dir.join("openssl.cnf"), ours).expect("openssl.cnf is written");
        std::fs::write(dir.join("index"), "").expect("an empty index is written");
        Self { dir }
    }

    /// The certificate, PEM.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// Its key, PEM.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }

    /// Makes a certificate of this name: the issuer signs it, itself if the names are the same.
    #[track_caller]
    pub fn make(&self, name: &str, issuer: &str, kind: &Kind) {
        std::fs::write(self.dir.join("extensions"), kind.extensions).expect("the extensions are written");
        let openssl = |arguments: String| {
            let words = arguments.split_whitespace();
            let output = Command::new("openssl").current_dir(&self.dir).args(words).output();
            let output = output.unwrap_or_else(|error| panic!("openssl: {error}: install the package openssl"));
            assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        };
        let Kind { key, hash, start, end, .. } = kind;
        openssl(format!("genpkey {key} -out {name}.key"));
        openssl(format!("req -new -config openssl.cnf -key {name}.key -subj /CN={name} -out {name}.csr"));
        let signer = if name == issuer { "-selfsign".to_owned() } else { format!("-cert {issuer}.crt") };
        openssl(format!(
            "ca -batch -notext -config openssl.cnf -in {name}.csr -out {name}.crt -keyfile {issuer}.key {signer} \
             -md {hash} -startdate {start} -enddate {end} -extfile extensions"
        ));
    }

    /// Several certificates, PEM, in this order.
    pub fn bundle(&self, names: &[&str]) -> String {
        let read = |name: &&str| std::fs::read_to_string(self.certificate(name)).expect("the certificate was made");
        names.iter().map(read).collect()
    }

    /// Where they are.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
