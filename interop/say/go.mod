module interop/say

go 1.24

// Every generation's module stands in for this one: see ../v5.30.0/go.mod.
require interop/micro v0.0.0
