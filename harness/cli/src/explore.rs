//! `tenure explore`: serves Stateright's Explorer for one universe, on loopback.

use crate::names;
use anyhow::{Context, Result};
use clap::Args;
use stateright::Model as _;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use tenure_checker::system::Model;
use tenure_protocol::{Seeded, Sound};

/// The arguments of `tenure explore`.
#[derive(Args)]
pub(crate) struct Explore {
    /// Explore this universe.
    #[arg(default_value = "calm")]
    universe: String,
    /// Plant this mutant in the machines.
    #[arg(long, alias = "defect", value_name = "NAME")]
    mutant: Option<String>,
    /// Listen on this port of loopback. 0 means any free port.
    #[arg(long, value_name = "N", default_value_t = 3000)]
    port: u16,
}

impl Explore {
    pub(crate) fn run(self) -> Result<bool> {
        let universe = names::universe(&self.universe)?;
        let mutant = self.mutant.as_deref().map(names::mutant).transpose()?;
        let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port);
        // Stateright panics if it cannot listen, so this bind reports the error first.
        let listener = TcpListener::bind(address).with_context(|| {
            format!("cannot listen on {address}; choose another port with --port")
        })?;
        let address = listener.local_addr()?;
        drop(listener);
        println!(
            "Exploring '{}' at http://{address}/ (stop with Ctrl-C)",
            universe.name
        );
        match mutant {
            None => drop(Model::new(universe, Sound).checker().serve(address)),
            Some(mutant) => drop(
                Model::new(universe, Seeded(mutant))
                    .checker()
                    .serve(address),
            ),
        }
        Ok(true)
    }
}
