module gimg.test/tools/token-server

go 1.25.0
