//! Makes what src/sys/seccomp.rs includes out of conf/seccomp.txt, and what src/upload/https/trust.rs includes.
//!
//! The latter: picks, out of the browsers' roots, the authorities that Azure's endpoints are issued by. All of them would be a twentieth of the program;
//! these are a tenth of that. They are believed beside those of the
//! host, whose bundle may be older than they are. Source: Azure's list of its certificate
//! authorities, as of November 2026.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "std")]
    {
        write_roots();
        write_calls();
    }
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

/// The lines of conf/seccomp.txt for the program's processor and C library, as src/sys/seccomp.rs takes them.
#[cfg(feature = "std")]
fn write_calls() {
    use core::fmt::Write as _;

    const TABLE: &str = "conf/seccomp.txt";
    println!("cargo:rerun-if-changed={TABLE}");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).expect("cargo sets it");
    let (arch, library) = (target("ARCH"), target("ENV"));
    let column = ["x86_64", "x86"].iter().position(|known| *known == arch);
    let text = std::fs::read_to_string(TABLE).expect(TABLE);
    let (mut list, mut applies) = (String::from("[\n"), true);
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            applies = name == library;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, _, _, roles, condition, _, ..] = words[..] else { panic!("{TABLE}: too few columns: {line}") };
        let number = column.map_or("-", |column| words[1 + column]);
        if applies && number != "-" {
            let (roles, condition) = (roles_of(roles), condition_of(condition));
            writeln!(
                list,
                "Line {{ #[cfg(test)] name: \"{name}\", number: {number}, roles: {roles}, condition: {condition} }},"
            )
            .expect("a String takes everything");
        }
    }
    list.push(']');
    let directory = std::env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(format!("{directory}/seccomp_calls.rs"), list).expect("cargo's directory can be written");
}

#[cfg(feature = "std")]
fn roles_of(words: &str) -> String {
    let role = |word: &str| match word {
        "all" => String::from("u8::MAX"),
        word => format!("Role::{}{}.bit()", word[..1].to_uppercase(), &word[1..]),
    };
    words.split(',').map(role).collect::<Vec<_>>().join(" | ")
}

#[cfg(feature = "std")]
fn condition_of(word: &str) -> String {
    match (word.split_once('='), word.split_once('&')) {
        (Some((argument, values)), _) => format!("Condition::OneOf({argument}, &[{values}])"),
        (_, Some((argument, bits))) => format!("Condition::Without({argument}, {bits})"),
        _ => String::from("Condition::Any"),
    }
}
