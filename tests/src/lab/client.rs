//! Real DHCP clients: ISC's dhclient, Debian's udhcpc, dhcpcd.
//!
//! One way to start, renew and release for the three, so that a test can be written once. The client's
//! own script configures the interface, as it would on a real machine.

use super::{Host, LabError, Process, until_ok};
use std::net::Ipv4Addr;

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientProgram {
    /// ISC's dhclient.
    Dhclient,
    /// Busybox's udhcpc.
    Udhcpc,
    /// Roy Marples's dhcpcd.
    Dhcpcd,
}

impl ClientProgram {
    /// The program's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dhclient => "dhclient",
            Self::Udhcpc => "udhcpc",
            Self::Dhcpcd => "dhcpcd",
        }
    }

    /// The command line that starts it in the foreground.
    #[must_use]
    pub const fn line(self) -> &'static str {
        match self {
            Self::Dhclient => "dhclient -4 -d -v eth0",
            Self::Udhcpc => "udhcpc -f -i eth0 -t 4 -T 1 -A 1",
            // No background, no ARP probe, no link-local address.
            Self::Dhcpcd => "dhcpcd -4 -B -A -L -d eth0",
        }
    }
}

/// A client that runs on `eth0` of a host.
#[derive(Debug)]
pub struct Client {
    program: ClientProgram,
    host: Host,
    process: Process,
}

impl Client {
    /// Starts the client.
    ///
    /// # Errors
    /// [`LabError::Machine`] if it is not installed.
    pub fn start(program: ClientProgram, host: &Host) -> Result<Self, LabError> {
        let process = host.start(program.name(), program.line())?;
        Ok(Self { program, host: host.clone(), process })
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Waits until the client has configured all that it does: address, default route, resolver; gives
    /// the address.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with the client's log.
    pub fn wait_address(&self) -> Result<Ipv4Addr, LabError> {
        until_ok(&format!("{} has an address", self.host.name()), || {
            configured(&self.host).ok_or_else(|| self.process.log())
        })
    }

    /// Waits until the interface has no address.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with the client's log.
    pub fn wait_no_address(&self) -> Result<(), LabError> {
        until_ok(&format!("{} has no address", self.host.name()), || match address(&self.host) {
            None => Ok(()),
            Some(_) => Err(self.process.log()),
        })
    }

    /// Has the client renew its lease, and waits until the server has acknowledged. dhclient cannot be
    /// told to: it renews by itself when half of the lifetime is over, so give it a short one.
    ///
    /// # Errors
    /// [`LabError::Deadline`] with the client's log.
    pub fn renew(&mut self) -> Result<(), LabError> {
        let offset = self.process.log().len();
        match self.program {
            ClientProgram::Dhclient => {
                self.process.wait_line_after(offset, "DHCPREQUEST for")?;
                self.process.wait_line_after(offset, "bound to").map(drop)
            }
            ClientProgram::Udhcpc => {
                self.process.signal("USR1")?;
                self.process.wait_line_after(offset, "obtained from").map(drop)
            }
            ClientProgram::Dhcpcd => {
                self.host.ok("dhcpcd -4 -N eth0")?;
                self.process.wait_line_after(offset, "acknowledged").map(drop)
            }
        }
    }

    /// Has the client release its lease and end.
    ///
    /// # Errors
    /// [`LabError::Command`] if the client refuses, [`LabError::Deadline`] if it does not end.
    pub fn release(mut self) -> Result<(), LabError> {
        match self.program {
            ClientProgram::Dhclient => {
                self.host.ok("dhclient -4 -r -v eth0")?;
            }
            ClientProgram::Udhcpc => {
                let offset = self.process.log().len();
                self.process.signal("USR2")?;
                self.process.wait_line_after(offset, "entering released state")?;
                self.process.signal("TERM")?;
            }
            ClientProgram::Dhcpcd => {
                self.host.ok("dhcpcd -4 -k eth0")?;
            }
        }
        self.wait_no_address()?;
        self.process.wait_end().map(drop)
    }
}

/// The address, once a route and a resolver have followed it.
fn configured(host: &Host) -> Option<Ipv4Addr> {
    let address = address(host)?;
    let routes = host.run("ip -4 route show default").ok()?.stdout;
    let resolver = host.read("/etc/resolv.conf").ok()?;
    (routes.contains("via") && resolver.contains("nameserver")).then_some(address)
}

/// The IPv4 address of `eth0`, if it has one.
fn address(host: &Host) -> Option<Ipv4Addr> {
    let shown = host.run("ip -4 -o address show dev eth0 scope global").ok()?.stdout;
    let mut words = shown.split_whitespace();
    words.find(|word| *word == "inet")?;
    words.next()?.split('/').next()?.parse().ok()
}
