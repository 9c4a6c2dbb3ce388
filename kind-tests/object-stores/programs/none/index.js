// Stands for packages that Azurite names and does not use with the arguments of the tests: telemetry and SQL.
module.exports = {};
