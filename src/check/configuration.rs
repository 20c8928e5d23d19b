//! `cfg.parse`: the configuration.

use super::{Finding, Scene, Tell};
use crate::config::{Diagnostic, Severity};
use alloc::format;
use alloc::string::ToString;

const ID: &str = "cfg.parse";

pub(super) fn look(scene: &Scene, tell: Tell) {
    tell(match &scene.file {
        None => Finding::pass(ID, "there is no file: what is built in counts"),
        Some(path) => judge(&path.to_string_lossy(), &scene.diagnostics),
    });
}

fn judge(path: &str, diagnostics: &[Diagnostic]) -> Finding {
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error).count();
    let lines = diagnostics.iter().map(ToString::to_string).collect();
    match (errors, diagnostics.len()) {
        (0, 0) => Finding::pass(ID, format!("{path} can be used")),
        (0, count) => {
            Finding::warn(ID, format!("{path} can be used; warnings: {count}"), "change these lines; see omsd.conf(5)")
        }
        (errors, _) => {
            Finding::fail(ID, format!("{path} cannot be used; errors: {errors}"), "mend these lines; see omsd.conf(5)")
        }
    }
    .with(lines)
}

#[cfg(test)]
mod tests {
    use super::super::Grade;
    use super::*;
    use crate::config;
    use alloc::string::String;
    use alloc::vec::Vec;

    struct One(String);

    impl config::Files for One {
        fn read(&mut self, _: &str, _: usize) -> Result<Option<Vec<u8>>, String> {
            Ok(Some(self.0.clone().into()))
        }

        fn list(&mut self, _: &str, _: usize) -> Result<Vec<String>, String> {
            Ok(Vec::new())
        }

        fn root(&self) -> String {
            "/".into()
        }
    }

    #[track_caller]
    fn check(rest: &str, expected: Grade, lines: usize) {
        let text = format!("<source>\n  type oms_heartbeat\n</source>\n<match **>\n  type out_stdout\n{rest}");
        let diagnostics = match config::parse(&mut One(text), "/omsd.conf") {
            Ok((_, warnings)) => warnings,
            Err(errors) => errors,
        };
        let finding = judge("/omsd.conf", &diagnostics);
        assert_eq!((finding.result, finding.details.len()), (expected, lines), "{finding:?}");
        assert_eq!(finding.fix.is_empty(), expected == Grade::Pass);
    }

    #[test]
    fn every_finding_of_the_configuration_is_a_line() {
        check("</match>\n", Grade::Pass, 0);
        check("  num_threads 5\n</match>\n", Grade::Warn, 1);
        check("  a 1\n  b 2\n</match>\n", Grade::Fail, 2);
    }
}
