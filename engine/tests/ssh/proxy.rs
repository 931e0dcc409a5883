//! A wire that can be cut: it passes bytes on until it is told to swallow them,
//! and keeps the connections open all the same, as a dead network does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Whether the wire is cut, and whether the test is over.
#[derive(Default)]
struct State {
    cut: bool,
    over: bool,
}

pub struct Proxy {
    pub port: u16,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Proxy {
    /// A wire to a port of the loopback interface, for one connection.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).unwrap();
            let back = (
                far.try_clone().unwrap(),
                near.try_clone().unwrap(),
                Arc::clone(&shared),
            );
            thread::spawn(move || carry(back.0, back.1, &back.2));
            carry(near, far, &shared);
        });
        Self { port, state }
    }

    /// From now on nothing arrives any more, in neither direction.
    pub fn cut(&self) {
        self.state.0.lock().unwrap().cut = true;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.0.lock().unwrap().over = true;
        self.state.1.notify_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &(Mutex<State>, Condvar)) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(bytes) = from.read(&mut buffer) else {
            return;
        };
        let state = state
            .1
            .wait_while(state.0.lock().unwrap(), |s| s.cut && !s.over)
            .unwrap();
        if state.over || bytes == 0 || to.write_all(&buffer[..bytes]).is_err() {
            return;
        }
    }
}
