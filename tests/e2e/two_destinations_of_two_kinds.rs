//! A host moves from its workspace to a data collection rule, and sends everything to both by `type copy`. One of the two is dead: it answers 503, or
//! nothing at all, or nobody gives tokens for it. The other gets everything meanwhile, once and in order. After a kill, and with the sections in the
//! other order, the dead one comes back and gets everything, too; nobody gets anything twice.

use crate::harness::{Numbered, Site, Source, at_the_same_time, send_over_tcp, wait_until};
use omsd_standin::serde_json::Value;
use omsd_standin::{Answer, Manner, Options, Route};

const COUNT: usize = 3000;
const AFTER: &str = "after the restart";

/// The installation that is onboarded to the workspace, and a stand-in that has the rule.
struct Move {
    workspace: Site,
    rule: Site,
    source: Source,
}

impl Move {
    fn new() -> Self {
        let (workspace, rule, source) = (Site::new(), Site::bare(Options::default()), Source::tcp());
        rule.configure_rows(&[source], "");
        std::fs::copy(rule.etc("secret"), workspace.etc("secret")).expect("the secret is copied, with its mode");
        workspace.write_ca(&(workspace.standin.ca_pem().to_owned() + rule.standin.ca_pem()));
        Self { workspace, rule, source }
    }

    /// Sends to both, in this order.
    fn send_to(&self, order: [&Site; 2]) {
        self.workspace.configure(&[self.source], "");
        self.rule.configure_rows(&[self.source], "");
        let conf = |site: &Site| std::fs::read_to_string(site.conf()).expect("omsd.conf is there");
        let store = |site: &Site| {
            let text = conf(site);
            let keys = text.split_once("<match oms.**>").and_then(|(_, rest)| rest.split_once("</match>"));
            format!("  <store>{}  </store>\n", keys.expect("one <match>").0)
        };
        let [first, second] = order.map(store);
        let text = conf(&self.workspace);
        let sources = text.split("<match").next().unwrap_or_default();
        let text = format!("{sources}<match oms.**>\n  type copy\n{first}{second}</match>\n");
        std::fs::write(self.workspace.conf(), text).expect("omsd.conf is written");
    }

    /// How many messages wait for the destination at one of the two.
    fn waiting(&self, site: &Site) -> Value {
        let status = self.workspace.status();
        let name = if std::ptr::eq(site, &self.rule) { "out_azure_ingestion dcr-" } else { "out_oms" };
        if status.is_null() {
            return status; // the sockets are open a moment before there is a status
        }
        let others = status["others"].as_array().into_iter().flatten();
        let account =
            others.chain([&status]).find(|it| it["destination"].as_str().is_some_and(|it| it.starts_with(name)));
        let streams = account.expect("it is a destination")["streams"].as_array().into_iter().flatten();
        streams.into_iter().find(|stream| stream["name"] == "syslog").map_or(Value::Null, |it| it["pending"].clone())
    }
}

/// The messages that one of the two has, as they came: items of a workspace, rows of a rule.
fn texts(site: &Site) -> Vec<String> {
    let seen = site.standin.seen();
    let rows = seen.rows_of("Custom-HostSyslog").map(|row| row.text("SyslogMessage").to_owned());
    seen.messages().map(str::to_owned).chain(rows).collect()
}

#[test]
fn a_workspace_and_a_rule_do_not_wait_for_one_another() {
    let silent = || Answer::manner(Manner::Silence { taken: false });
    let rows = vec![
        ("the workspace answers 503", (Route::Data, Answer::status(503))),
        ("the workspace is silent", (Route::Data, silent())),
        ("the rule answers 503", (Route::Rows, Answer::status(503))),
        ("the rule is silent", (Route::Rows, silent())),
        ("nobody gives tokens for the rule", (Route::Token, Answer::status(503))),
    ];
    at_the_same_time(rows, |(route, answer)| {
        let both = Move::new();
        let (dead, alive) =
            if route == Route::Data { (&both.workspace, &both.rule) } else { (&both.rule, &both.workspace) };
        dead.standin.answer_always(route, answer);
        both.send_to([dead, alive]);
        let mut omsd = both.workspace.start();
        let messages = Numbered::new(COUNT);
        let _before = send_over_tcp(both.source, &messages.lines());
        wait_until("the one that is alive has all", || both.waiting(alive) == 0 && texts(alive).len() == COUNT + 1);
        assert_eq!(both.waiting(dead), COUNT + 1, "{}", both.workspace.status());
        assert_eq!(texts(dead), [""; 0]);
        omsd.kill();

        dead.standin.behave();
        both.send_to([alive, dead]);
        let _omsd = both.workspace.start();
        wait_until("the other has all, too", || texts(dead).len() > COUNT);
        let _after = send_over_tcp(both.source, &format!("<13>Nov 22 20:00:00 web01 app: {AFTER}\n"));
        for site in [alive, dead] {
            wait_until("the message after", || texts(site).iter().any(|text| text == AFTER));
            let texts = texts(site);
            assert!((0..COUNT).all(|number| texts[number] == messages.text(number)), "out of order");
            assert_eq!(texts.len(), COUNT + 2, "nothing came twice");
            assert_eq!(site.standin.seen().complaints, [""; 0]);
        }
    });
}
