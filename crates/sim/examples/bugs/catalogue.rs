pub fn print() {
    for (_, name) in base::planted::ALL {
        println!("{name}");
    }
}
