// swift-tools-version: 6.2
import PackageDescription

// One set of rules for every Swift target.
let rules: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),  // An async call stays on its caller's loop.
    .enableUpcomingFeature("InternalImportsByDefault"),        // Re-exporting a dependency must be said aloud.
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("ExistentialAny"),
    .treatAllWarnings(as: .error),
    // Unchecked exclusivity is a third of our user instructions, and the optimiser of 6.3.1 has a
    // false positive there that aborts a correct loop. Debug builds keep the check.
    .unsafeFlags(["-enforce-exclusivity=unchecked", "-cross-module-optimization"], .when(configuration: .release)),
]

let package = Package(
    name: "sluice",
    products: [
        .executable(name: "sluice", targets: ["sluice"]),
        .executable(name: "sluicebench", targets: ["sluicebench"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),  // The command line.
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),             // The logging façade.
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),                   // sluice.yaml.
    ],
    targets: [
        // C, one module per library. Each is imported by exactly one Swift target. (And libcurl by the tests' client.)
        .target(name: "CLinux"),
        .target(name: "CHiredis", linkerSettings: [.linkedLibrary("hiredis")]),
        .target(name: "CAssets"),
        .systemLibrary(name: "CCurl", providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(name: "COpenSSL", providers: [.apt(["libssl-dev"])]),

        // Storey 1: the loop, and a leaf for digests. Storey 2: three drivers that never import one
        // another. Storey 3: the product. Storey 4: argv, signals, exit codes.
        .target(name: "Crypto", dependencies: ["COpenSSL"], swiftSettings: rules),
        .target(name: "Net", dependencies: ["CLinux"], swiftSettings: rules),
        .target(name: "HTTP", dependencies: ["Net"], swiftSettings: rules),
        .target(name: "Redis", dependencies: ["Net", "Crypto", "CHiredis"], swiftSettings: rules),
        .target(name: "Webhook", dependencies: ["Net", "Crypto", "CCurl"], swiftSettings: rules),
        .target(
            name: "Gateway",
            dependencies: [
                "Net", "HTTP", "Redis", "Webhook", "Crypto", "CAssets", "Yams",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules),
        .executableTarget(
            name: "sluice",
            dependencies: [
                "Gateway", "Net",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: rules),
        .executableTarget(
            name: "sluicebench",
            dependencies: [
                "Net", "Webhook",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: rules),

        .target(name: "Curl", dependencies: ["CCurl"], path: "Tests/Curl", swiftSettings: rules),  // For Support's client.
        .target(
            name: "Support", dependencies: ["Net", "HTTP", "Redis", "Gateway", "Crypto", "Curl", "Yams"], path: "Tests/Support",
            swiftSettings: rules),
        .target(name: "CAllocations", path: "Tests/CAllocations"),  // Counts, for the tests that bound it.
        .testTarget(name: "NetTests", dependencies: ["Net"], swiftSettings: rules),
        .testTarget(name: "HTTPTests", dependencies: ["HTTP", "Net"], swiftSettings: rules),
        .testTarget(name: "RedisTests", dependencies: ["Redis", "Net", "Support"], swiftSettings: rules),
        .testTarget(
            name: "WebhookTests", dependencies: ["Webhook", "Crypto", "Net"], swiftSettings: rules,
            // The tests script the resolver and the clock: libcurl must find theirs before the C library's.
            linkerSettings: [
                .unsafeFlags([
                    "-Xlinker", "--export-dynamic-symbol=getaddrinfo", "-Xlinker", "--export-dynamic-symbol=clock_gettime",
                ])
            ]),
        .testTarget(
            name: "GatewayTests",
            dependencies: [
                "Gateway", "HTTP", "Redis", "Webhook", "Net", "Support", "CAllocations", "Yams",
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: rules),
        .testTarget(name: "EndToEndTests", dependencies: ["Support", "sluice"], swiftSettings: rules),
        .testTarget(name: "TidyTests", swiftSettings: rules),
    ]
)

// `SLUICE_FUZZ=1 swift build …` (deploy/fuzz): libFuzzer brings its own main, so this target is there only then.
if Context.environment["SLUICE_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "HTTPFuzz", dependencies: ["HTTP"],
            swiftSettings: rules + [.unsafeFlags(["-parse-as-library", "-sanitize=fuzzer,address"])],
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]))
}
