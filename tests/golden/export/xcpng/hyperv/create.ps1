#Requires -RunAsAdministrator
#Requires -Modules Hyper-V
# Makes switches, disks and machines of the lab xcpng.
. (Join-Path $PSScriptRoot 'lib.ps1')
Assert-LabHost -Build 14393 -AmdBuild 20348
New-Item -ItemType Directory -Force -Path 'C:\nestlab\xcpng' | Out-Null
New-LabSwitch -Name 'nestlab-xcpng-storage' -Lab 'xcpng'
New-LabVM -Machine @{
    Name = 'xcpng-host'
    Lab = 'xcpng'
    Folder = 'C:\nestlab\xcpng'
    Generation = 1
    Memory = 8589934592
    DynamicMemory = $false
    Cpus = 2
    Expose = $true
    Spoofing = 'On'
    Medium = 'C:\nestlab\xcpng\xcpng-host.iso'
    Console = '\\.\pipe\xcpng-host'
    Disks = @(
        @{
            Path = 'C:\nestlab\xcpng\xcpng-host-system.vhdx'
            Size = 107374182400
            Image = $false
            Controller = 0
            Location = 0
        },
        @{
            Path = 'C:\nestlab\xcpng\xcpng-host-guests.vhdx'
            Size = 53687091200
            Image = $false
            Controller = 0
            Location = 1
        }
    )
    Cards = @(
        @{
            Name = 'management'
            Switch = 'Default Switch'
            Mac = '525400A104D8'
            Vlan = 0
            Trunk = ''
        },
        @{
            Name = 'storage-1'
            Switch = 'nestlab-xcpng-storage'
            Mac = '5254004FFD56'
            Vlan = 0
            Trunk = ''
        }
    )
}
