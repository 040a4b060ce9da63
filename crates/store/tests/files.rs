//! Value and index files over a disk in memory, whole, damaged and half-written.

#[path = "files/crash.rs"]
mod crash;
#[path = "files/damage.rs"]
mod damage;
#[path = "files/fuzz.rs"]
mod fuzz;
#[path = "files/index.rs"]
mod index;
#[path = "files/make.rs"]
mod make;
#[path = "files/odd.rs"]
mod odd;
#[path = "files/salvage.rs"]
mod salvage;
#[path = "files/sealed.rs"]
mod sealed;
#[path = "files/shelf.rs"]
mod shelf;
#[path = "files/values.rs"]
mod values;
