// Holds the precompiled CAF headers that actors reuse.
