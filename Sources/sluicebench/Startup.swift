// x
import ArgumentParser
struct Startup: ParsableCommand { func run() throws {} }
