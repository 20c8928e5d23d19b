//! `omsadmin.conf`: what an onboarded agent knows about its workspace, in the original's keys and their order.
//!
//! `KEY=VALUE` lines without quotes. The original's service script reads the file as shell, so parentheses are written `\(`
//! and `\)`; everything else is what it is.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use super::guid::is_guid;

/// The values of the file; an absent key is an empty value, but for [`AdminConf::uuid`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdminConf {
    /// `WORKSPACE_ID`: GUID.
    pub workspace_id: String,
    /// `AGENT_GUID`: GUID.
    pub agent_guid: String,
    /// `CERTIFICATE_UPDATE_ENDPOINT`: where a new certificate would be sent.
    pub certificate_update_endpoint: String,
    /// `URL_TLD`: the cloud's domain.
    pub url_tld: String,
    /// `DSC_ENDPOINT`: the configuration service.
    pub dsc_endpoint: String,
    /// `OMS_ENDPOINT`: the URL that data is posted to.
    pub oms_endpoint: String,
    /// `AZURE_RESOURCE_ID`
    pub azure_resource_id: String,
    /// `OMSCLOUD_ID`: chassis asset tag of an Azure machine.
    pub cloud_id: String,
    /// `UUID` of the machine as it stands in the file; `None` without such a line.
    pub uuid: Option<String>,
}

/// What an `omsadmin.conf` lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdminConfError {
    /// There is no value for this key.
    Missing(&'static str),
}

impl AdminConf {
    /// Reads the text of the file. As in the original the first of several equal keys wins and unknown keys are passed over.
    pub fn parse(text: &str) -> Result<AdminConf, AdminConfError> {
        let value = |key: &str| {
            text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix('=')).map(|value| value.trim())
        };
        let owned = |key| value(key).unwrap_or("").to_owned();
        let required = |key| match value(key) {
            None | Some("") => Err(AdminConfError::Missing(key)),
            Some(value) => Ok(value.to_owned()),
        };
        Ok(AdminConf {
            workspace_id: owned("WORKSPACE_ID"),
            agent_guid: required("AGENT_GUID")?,
            certificate_update_endpoint: owned("CERTIFICATE_UPDATE_ENDPOINT"),
            url_tld: owned("URL_TLD"),
            dsc_endpoint: owned("DSC_ENDPOINT").replace("\\(", "(").replace("\\)", ")"),
            oms_endpoint: required("OMS_ENDPOINT")?,
            azure_resource_id: owned("AZURE_RESOURCE_ID"),
            cloud_id: owned("OMSCLOUD_ID"),
            uuid: value("UUID").map(ToOwned::to_owned),
        })
    }

    /// The text of the file. Line ends in values (there should be none) become spaces.
    pub fn to_text(&self) -> String {
        let dsc_endpoint = escaped(&self.dsc_endpoint);
        let mut text = String::new();
        for (key, value) in [
            ("WORKSPACE_ID", self.workspace_id.as_str()),
            ("AGENT_GUID", &self.agent_guid),
            ("LOG_FACILITY", "local0"),
            ("CERTIFICATE_UPDATE_ENDPOINT", &self.certificate_update_endpoint),
            ("URL_TLD", &self.url_tld),
            ("DSC_ENDPOINT", &dsc_endpoint),
            ("OMS_ENDPOINT", &self.oms_endpoint),
            ("AZURE_RESOURCE_ID", &self.azure_resource_id),
            ("OMSCLOUD_ID", &self.cloud_id),
            ("UUID", self.uuid.as_deref().unwrap_or("")),
        ] {
            text.push_str(&format!("{key}={}\n", value.replace(['\n', '\r'], " ")));
        }
        text
    }

    /// The text of a file with this one's two endpoints of the service in place of those there; every other line stays, and a
    /// line that is not there is not added, as in the original.
    pub fn with_endpoints(&self, text: &str) -> String {
        let dsc_endpoint = escaped(&self.dsc_endpoint);
        let renewed = |line: &str| {
            for (key, value) in
                [("CERTIFICATE_UPDATE_ENDPOINT", &self.certificate_update_endpoint), ("DSC_ENDPOINT", &dsc_endpoint)]
            {
                if line.strip_prefix(key).is_some_and(|rest| rest.starts_with('=')) {
                    return format!("{key}={value}\n");
                }
            }
            format!("{line}\n")
        };
        text.lines().map(renewed).collect()
    }

    /// What goes into the `x-ms-UUID` header: the machine's UUID, all zeros if what stands there is none, nothing without a line.
    pub fn uuid_header(&self) -> Option<&str> {
        let uuid = self.uuid.as_deref()?;
        Some(if is_guid(uuid) { uuid } else { "00000000-0000-0000-0000-000000000000" })
    }
}

/// As a shell reads it back.
fn escaped(url: &str) -> String {
    url.replace('(', "\\(").replace(')', "\\)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> AdminConf {
        AdminConf {
            workspace_id: "0e6b5a53-2c1f-4a4e-9d7a-111111111111".into(),
            agent_guid: "1b4e28ba-2fa1-4d2e-883f-0016d3cca427".into(),
            certificate_update_endpoint: "https://w.oms.example/ConfigurationService.Svc/RenewCertificate".into(),
            url_tld: "opinsights.azure.com".into(),
            dsc_endpoint: "https://dsc.example/Accounts/w/Nodes(AgentId='a')".into(),
            oms_endpoint: "https://w.ods.opinsights.azure.com/OperationalData.svc/PostJsonDataItems".into(),
            azure_resource_id: "/subscriptions/s".into(),
            cloud_id: "7783-7084-3265-9085-8269-3286-77".into(),
            uuid: Some("2a0b9c1e-0000-0000-0000-00000000000f".into()),
        }
    }

    #[test]
    fn the_file_has_ten_keys_in_the_original_order() {
        let text = example().to_text();
        let keys: alloc::vec::Vec<&str> = text.lines().filter_map(|line| line.split('=').next()).collect();
        assert_eq!(
            keys,
            [
                "WORKSPACE_ID",
                "AGENT_GUID",
                "LOG_FACILITY",
                "CERTIFICATE_UPDATE_ENDPOINT",
                "URL_TLD",
                "DSC_ENDPOINT",
                "OMS_ENDPOINT",
                "AZURE_RESOURCE_ID",
                "OMSCLOUD_ID",
                "UUID",
            ]
        );
        assert!(text.contains("DSC_ENDPOINT=https://dsc.example/Accounts/w/Nodes\\(AgentId='a'\\)\n"), "{text}");
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(AdminConf::parse(&example().to_text()), Ok(example()));
    }

    #[test]
    fn new_endpoints_leave_every_other_line_as_it_is() {
        let text = "# by hand\nDSC_ENDPOINT=https://old/\nUUID=x \nCERTIFICATE_UPDATE_ENDPOINT=\nDSC_ENDPOINTS=1";
        let expected = "# by hand\nDSC_ENDPOINT=https://dsc.example/Accounts/w/Nodes\\(AgentId='a'\\)\nUUID=x \n\
                        CERTIFICATE_UPDATE_ENDPOINT=https://w.oms.example/ConfigurationService.Svc/RenewCertificate\n\
                        DSC_ENDPOINTS=1\n";
        assert_eq!(example().with_endpoints(text), expected);
    }

    #[test]
    fn a_line_end_in_a_value_cannot_add_a_key() {
        let text = AdminConf { cloud_id: "7\nOMS_ENDPOINT=x".into(), ..example() }.to_text();
        assert_eq!(text.lines().count(), 10);
    }

    #[test]
    fn the_first_key_wins_and_an_equals_sign_in_a_url_stays() {
        let text = "# ours\r\nOMS_ENDPOINT=https://a/?b=c \r\nOMS_ENDPOINT=second\nAGENT_GUID= g\nOTHER=1\nUUID_X=2";
        let read = AdminConf::parse(text).unwrap();
        assert_eq!(read.oms_endpoint, "https://a/?b=c");
        assert_eq!(read.agent_guid, "g");
        assert_eq!(read.uuid, None);
    }

    #[test]
    fn an_agent_without_endpoint_or_guid_is_not_onboarded() {
        assert_eq!(AdminConf::parse("AGENT_GUID=g"), Err(AdminConfError::Missing("OMS_ENDPOINT")));
        assert_eq!(AdminConf::parse("OMS_ENDPOINT=e\nAGENT_GUID="), Err(AdminConfError::Missing("AGENT_GUID")));
        assert_eq!(AdminConf::parse(""), Err(AdminConfError::Missing("AGENT_GUID")));
    }

    #[test]
    fn a_machine_uuid_that_is_none_becomes_zeros() {
        let header = |uuid: Option<&str>| {
            AdminConf { uuid: uuid.map(Into::into), ..example() }.uuid_header().map(ToOwned::to_owned)
        };
        let zeros = Some("00000000-0000-0000-0000-000000000000".to_owned());
        assert_eq!(header(None), None);
        assert_eq!(header(Some("")), zeros);
        assert_eq!(header(Some("Not Settable")), zeros);
        assert_eq!(
            header(Some("2A0B9C1E-0000-0000-0000-00000000000F")),
            Some("2A0B9C1E-0000-0000-0000-00000000000F".into())
        );
    }
}
