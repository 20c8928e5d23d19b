//! Picks, out of the browsers' roots, the authorities that Azure's endpoints are issued by. All of them would be a twentieth of the program;
//! these are a tenth of that. They are believed beside those of the
//! host, whose bundle may be older than they are. Source: Azure's list of its certificate
//! authorities, as of November 2026.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "std")]
    write_roots();
}

#[cfg(feature = "std")]
fn write_roots() {
    use core::fmt::Write as _;

    /// What each authority's name contains.
    const ORGANIZATIONS: [&[u8]; 4] = [b"DigiCert Inc", b"DigiCert, Inc.", b"Microsoft Corporation", b"Entrust, Inc."];
    let mut list = String::from("[\n");
    for root in webpki_roots::TLS_SERVER_ROOTS {
        let (name, key, constraints) = (&*root.subject, &*root.subject_public_key_info, &root.name_constraints);
        if ORGANIZATIONS.iter().any(|wanted| name.windows(wanted.len()).any(|part| part == *wanted)) {
            assert!(constraints.is_none(), "an authority with constraints, which would be dropped");
            let (name, key) = (name.escape_ascii(), key.escape_ascii());
            writeln!(list, "(b\"{name}\", b\"{key}\"),").expect("a String takes everything");
        }
    }
    list.push(']');
    let directory = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(format!("{directory}/azure_roots.rs"), list).expect("cargo's directory can be written");
}
