//! Values of the types that send rows.

use super::Values;
use crate::config::{App, AzureIngestion, Cloud, DataCollector, Identity, Nearby, RowNames, RowSettings, SyslogTable};
use alloc::format;
use alloc::string::{String, ToString};

/// The metadata service of an Azure VM, and that of Azure Arc.
const AZURE_ENDPOINT: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const ARC_ENDPOINT: &str = "http://localhost:40342/metadata/identity/oauth2/token";

impl Values<'_, '_, '_> {
    pub(super) fn azure_ingestion(&mut self) -> AzureIngestion {
        let cloud = self.cloud();
        AzureIngestion {
            endpoint: self.required(
                "endpoint",
                "an https address, as https://NAME.REGION-1.ingest.monitor.azure.com",
                is_https,
            ),
            rule_id: self.required(
                "dcr_id",
                "the rule's immutable id (dcr- and 32 hexadecimal digits), not its name",
                is_rule_id,
            ),
            api_version: self.checked("api_version", "a date, as 2023-01-01", is_name),
            authority: self.authority(cloud),
            identity: self.identity(),
            rows: self.rows("a name that the rule has: letters, digits, - and _"),
            cloud,
        }
    }

    pub(super) fn data_collector(&mut self) -> DataCollector {
        let reason =
            "out_data_collector uses an API that is out of support since 2026-09-14: prefer out_azure_ingestion";
        self.reader.report.warn(self.section.place, reason);
        self.warn_of_unused(&["compress"], "out_data_collector");
        let workspace_id = self.required("workspace_id", "the workspace's GUID", is_guid);
        let domain = match self.cloud() {
            Cloud::Public => "com",
            Cloud::UsGov => "us",
            Cloud::China => "cn",
        };
        let endpoint = match self.checked("endpoint", "an https address", is_https) {
            unset if unset.is_empty() => format!("https://{workspace_id}.ods.opinsights.azure.{domain}"),
            endpoint => endpoint,
        };
        DataCollector {
            workspace_id,
            shared_key: self.text("shared_key_path").0,
            endpoint,
            api_version: self.checked("api_version", "a date, as 2016-04-01", is_name),
            rows: self.rows("a name of a table: letters, digits and _"),
        }
    }

    fn rows(&mut self, what: &str) -> RowSettings {
        RowSettings {
            names: RowNames {
                syslog: self.checked("syslog_stream", what, is_name),
                perf: self.checked("perf_stream", what, is_name),
                heartbeat: self.checked("heartbeat_stream", what, is_name),
                operation: self.checked("operation_stream", what, is_name),
            },
            syslog_table: match self.text("syslog_table").0.as_str() {
                "CommonSecurityLog" => SyslogTable::CommonSecurityLog,
                _ => SyslogTable::Syslog,
            },
            warning: if self.text("severity_warning").0 == "warn" { "warn" } else { "warning" },
            proxy_conf: self.text("proxy_conf_path").0,
            no_proxy: self.text("no_proxy").0,
            ca_file: self.text("ca_file").0,
            compress: self.flag("compress"),
        }
    }

    fn cloud(&mut self) -> Cloud {
        match self.text("cloud").0.as_str() {
            "usgov" => Cloud::UsGov,
            "china" => Cloud::China,
            _ => Cloud::Public,
        }
    }

    fn authority(&mut self, cloud: Cloud) -> String {
        match self.checked("authority", "an https address", is_https) {
            unset if unset.is_empty() => cloud.authority().to_string(),
            authority => authority,
        }
    }

    fn identity(&mut self) -> Identity {
        match self.text("identity").0.as_str() {
            "secret" => {
                self.warn_of_unused(&["cert_path", "key_path", "identity_endpoint"], "identity secret");
                Identity::Secret { app: self.app(), secret: self.text("secret_path").0 }
            }
            "certificate" => {
                self.warn_of_unused(&["secret_path", "identity_endpoint"], "identity certificate");
                let (certificate, key) = (self.text("cert_path").0, self.text("key_path").0);
                Identity::Certificate { app: self.app(), certificate, key }
            }
            "arc" => {
                self.warn_of_unused(
                    &["tenant_id", "client_id", "secret_path", "cert_path", "key_path", "authority"],
                    "identity arc",
                );
                Identity::Arc { endpoint: self.metadata(ARC_ENDPOINT), challenges: String::new() }
            }
            _ => {
                let unused = ["tenant_id", "secret_path", "cert_path", "key_path", "authority"];
                self.warn_of_unused(&unused, "identity managed");
                let client = self.checked("client_id", "the GUID of a user-assigned identity", is_guid);
                Identity::Managed { client, endpoint: self.metadata(AZURE_ENDPOINT) }
            }
        }
    }

    fn app(&mut self) -> App {
        App {
            tenant: self.required("tenant_id", "a GUID or a domain", is_tenant),
            client: self.required("client_id", "the application's GUID", is_guid),
        }
    }

    fn metadata(&mut self, usual: &str) -> Nearby {
        let what = "http://ADDRESS[:PORT]/PATH on this machine (127.0.0.1, localhost) or its link (169.254.0.0/16)";
        let text = self.checked("identity_endpoint", what, |text| Nearby::parse(text).is_some());
        Nearby::parse(if text.is_empty() { usual } else { &text }).unwrap_or_default()
    }

    fn required(&mut self, name: &str, what: &str, fits: fn(&str) -> bool) -> String {
        if self.entry(name).is_none() {
            self.reader.report.error(self.section.place, format!("no `{name}`: expected {what}"));
        }
        self.checked(name, what, fits)
    }

    /// A text of this form; the default if it is not set, or if it is wrong, which is said.
    fn checked(&mut self, name: &str, what: &str, fits: fn(&str) -> bool) -> String {
        let (text, place) = self.text(name);
        if self.entry(name).is_some() && !fits(&text) {
            self.reader.report.error(place, format!("`{name}`: expected {what}"));
        }
        text
    }
}

/// `https://HOST[:PORT]`, nothing behind it.
fn is_https(text: &str) -> bool {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']');
    !host.is_empty() && host.bytes().all(fine)
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn is_rule_id(text: &str) -> bool {
    let digits = text.strip_prefix("dcr-").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn is_tenant(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
