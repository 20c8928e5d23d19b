//! A proxy as stands in front of many servers: it knows CONNECT, asks for a password, and remembers what it was asked.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A running proxy. Its threads end with the process.
pub struct Proxy {
    /// Where it listens, on the loopback address.
    pub port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one that wants this `Proxy-Authorization`.
    pub fn start(authorization: &str) -> Self {
        let wanted = format!("proxy-authorization: {}", authorization.to_lowercase());
        Self::serving(move |lines| {
            let authorized = lines.iter().any(|line| line.to_lowercase() == wanted);
            authorized.then(|| target(lines)).flatten()
        })
    }

    /// Starts one that leads everybody to this port of the loopback address, whatever name they ask for.
    pub fn leading_to(port: u16) -> Self {
        Self::serving(move |lines| target(lines).map(|_| format!("127.0.0.1:{port}")))
    }

    /// `lead`: from the lines of a request to where it goes, if it goes anywhere.
    fn serving(lead: impl Fn(&[String]) -> Option<String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it has an address").port();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (notes, lead) = (asked.clone(), Arc::new(lead));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (notes, lead) = (notes.clone(), lead.clone());
                std::thread::spawn(move || serve(client, &*lead, &notes));
            }
        });
        Self { port, asked }
    }

    /// The request lines so far.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no thread panicked").clone()
    }
}

/// What a CONNECT asks for.
fn target(lines: &[String]) -> Option<String> {
    Some(lines.first()?.strip_prefix("CONNECT ")?.strip_suffix(" HTTP/1.1")?.to_owned())
}

fn serve(client: TcpStream, lead: &impl Fn(&[String]) -> Option<String>, notes: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        lines.push(line.trim_end().to_owned());
    }
    notes.lock().expect("no thread panicked").push(lines.first().cloned().unwrap_or_default());
    let Some(target) = lead(&lines) else {
        return (&client).write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n");
    };
    let server = TcpStream::connect(target)?;
    (&client).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client);
    let back = std::thread::spawn(move || {
        let _ = io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut reader, &mut &server);
    let _ = server.shutdown(Shutdown::Write);
    back.join().expect("the way back does not panic");
    Ok(())
}
